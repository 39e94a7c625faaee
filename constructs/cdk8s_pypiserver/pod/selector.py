"""The pods of a registry as cdk8s-plus selects them."""

from collections.abc import Mapping

import cdk8s_plus_27 as kplus
import jsii
from constructs import Construct


@jsii.implements(kplus.IPodSelector)
class PodSelector(Construct):
    """What `kplus.NetworkPolicy(selector=…)` and the like take."""

    def __init__(self, scope: Construct, id_: str, *, labels: Mapping[str, str]) -> None:
        """Select the pods that bear these labels."""
        super().__init__(scope, id_)
        self._labels = dict(labels)

    def to_pod_selector_config(self) -> kplus.PodSelectorConfig:
        """Return the labels; cdk8s-plus calls this."""
        return kplus.PodSelectorConfig(label_selector=kplus.LabelSelector.of(labels=self._labels))

    def to_pod_selector(self) -> kplus.IPodSelector:
        """Return itself; cdk8s-plus calls this."""
        return self
