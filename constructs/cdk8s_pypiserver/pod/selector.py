"""The pods of a registry as cdk8s-plus selects them."""

import cdk8s_plus_27 as kplus
import jsii
from constructs import Construct

from cdk8s_pypiserver.base.identity import Identity


@jsii.implements(kplus.IPodSelector)
class PodSelector(Construct):
    """What `kplus.NetworkPolicy(selector=…)` and the like take."""

    def __init__(self, scope: Construct, id_: str, *, identity: Identity) -> None:
        """Select the pods of a registry."""
        super().__init__(scope, id_)
        self._identity = identity

    def to_pod_selector_config(self) -> kplus.PodSelectorConfig:
        """Return the labels; cdk8s-plus calls this."""
        return kplus.PodSelectorConfig(label_selector=kplus.LabelSelector.of(labels=self._identity.selector))

    def to_pod_selector(self) -> kplus.IPodSelector:
        """Return itself; cdk8s-plus calls this."""
        return self
