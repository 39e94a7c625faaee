"""An app that writes its charts as Kustomize folders, and the difference that a concern makes as components."""

import os
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cdk8s

from cdk8s_pypiserver.base.manifest import Manifest

from .documents import added_objects, chart_documents, component_documents, in_folder, mirror_documents
from .folder import Folder, Texts
from .mirror import images
from .names import Names
from .rendering import Rendering

COMPONENTS = "components"
SHOW_DIFFERENCE = "SHOW_DIFFERENCE"
"""Variable of the environment that asks for the lines that change."""


@dataclass(frozen=True)
class _Component:
    without: cdk8s.Chart | Rendering | None
    having: cdk8s.Chart | Rendering
    charts: Sequence[cdk8s.Chart] | None
    after: Sequence[str]
    never_with: Sequence[str]


class KustomizeApp(cdk8s.App):
    """An app whose charts become Kustomize folders: `<outdir>/<chart>/` and `<outdir>/components/<concern>/`.

    It changes and removes only what it wrote itself, which a list in the folder tells (`folder.LIST`), and leaves the
    folder of another app alone.
    """

    def __init__(
        self, outdir: str | Path = "dist", *, name: str | None = None, show_difference: bool | None = None
    ) -> None:
        """Make the app.

        Args:
            outdir: Folder that is written. Where CDK8S_OUTDIR names another one, as the cdk8s command line does,
                that gets a copy.
            name: What tells the app from others that write folders. The script's name by default.
            show_difference: Whether the lines that change are printed too, not only the files. By default if
                SHOW_DIFFERENCE is set in the environment.

        Raises:
            ValueError: the name has several lines.
        """
        super().__init__(outdir=str(outdir))
        self._name = name or Path(sys.argv[0]).name
        if "\n" in self._name:
            raise ValueError(f"name ({self._name!r}) must be one line")
        self._components: dict[str, _Component] = {}
        self._frozen: dict[cdk8s.Chart, Rendering] = {}
        self._mirror: str | None = None
        self._show_difference = bool(os.environ.get(SHOW_DIFFERENCE)) if show_difference is None else show_difference

    def freeze(self, chart: cdk8s.Chart) -> Rendering:
        """Have a chart written as it is now, which is returned; what joins it later is in components alone."""
        self._frozen[chart] = Rendering(chart)
        return self._frozen[chart]

    def add_component(  # noqa: PLR0913
        self,
        concern: str,
        *,
        without: cdk8s.Chart | Rendering | None,
        having: cdk8s.Chart | Rendering,
        charts: Sequence[cdk8s.Chart] | None = None,
        after: Sequence[str] = (),
        never_with: Sequence[str] = (),
    ) -> None:
        """Add the component that turns `without` into `having`, two charts of the same names.

        Where `without` is the chart that another component makes, that one has to be listed before.

        Args:
            concern: Name of the component's folder.
            without: Chart without the concern, or what `having` was before the concern joined it; None where the
                concern is made of objects of its own.
            having: Chart with the concern, or what it was before it changed again; usually of another app, so that it
                is not written itself.
            charts: The charts of this app that it goes with; with others Kustomize ends with an error that says so.
                Any of them by default.
            after: Other components that have to be listed before it, in the same way.
            never_with: Other components that it does not go with, in the same way.

        Raises:
            ValueError: there is a component of this name.
        """
        self._refuse_twin(concern)
        self._components[concern] = _Component(without, having, charts, after, never_with)

    def add_mirror(self, concern: str = "images") -> None:
        """Add a component that has every image come from a mirror, under its full name, tag and digest.

        Whoever lists it generates a ConfigMap `mirror-of-images`, or lists one, which is not applied: its `prefix` is
        the mirror, such as `registry.example.com:5000/mirror`. Kustomize ends with an error where it is missing or no
        image can come from it, or where a component that brings an image is listed after this one.

        Args:
            concern: Name of the component's folder.

        Raises:
            ValueError: there is a component of this name, or a mirror.
        """
        self._refuse_twin(concern)
        if self._mirror:
            raise ValueError(f"there is a component for a mirror already, {self._mirror}: leave one of them out")
        self._mirror = concern

    def _refuse_twin(self, concern: str) -> None:
        if concern in self._components or concern == self._mirror:
            raise ValueError(f"there is a component {concern} already: give one of them another name")

    def synth(self) -> None:
        """Synthesize, print which files differ from the last time, and write them.

        Nothing is written if anything is wrong.

        Raises:
            FolderError: the folder is another app's, or a file in the way is not this one's or was edited.
            RuntimeError: a construct's own validation found an error, or two objects of one chart would be written to
                one file.
            ValueError: two charts have one id, or a component would take something away.
        """
        texts = self._texts()
        folders = {Path(self.outdir).resolve()}
        if asked := os.environ.get("CDK8S_OUTDIR"):
            folders.add(Path(asked).resolve())
        compared = [Folder(path, texts, self._name) for path in sorted(folders)]
        try:
            for folder in compared:
                self._print(folder)
            sys.stdout.flush()
        except BrokenPipeError:
            # Whoever reads no further (`| head`) wants the files all the same. Python would try once more at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        for folder in compared:
            folder.write()

    def _texts(self) -> Texts:
        charts = {chart: chart.node.id for chart in self.charts}
        if twins := [name for name, count in Counter(charts.values()).items() if count > 1]:
            paths = sorted(chart.node.path for chart, name in charts.items() if name in twins)
            raise ValueError(f"the charts {', '.join(paths)} would share a folder: give each an id of its own")
        pairs = (part for each in self._components.values() for part in (each.without, each.having))
        wanted = dict.fromkeys([*charts, *(part for part in pairs if part)])
        for app in self._apps(part.chart if isinstance(part, Rendering) else part for part in wanted):
            _validate(app)
        rendered = {part: self._rendering(part) for part in wanted}
        before = {
            concern: rendered[each.without] if each.without else None for concern, each in self._components.items()
        }
        # A patch may refer to a name too, so all of a component's objects are looked at.
        having = [manifest for each in self._components.values() for manifest in rendered[each.having].manifests]
        added = [
            manifest
            for concern, each in self._components.items()
            for manifest in added_objects(before[concern], rendered[each.having])
        ]
        texts: Texts = {}
        for chart, name in charts.items():
            rendering = rendered[chart]
            names = Names(rendering.manifests, having, added)
            documents = chart_documents(name, rendering, names=names, rules=self._rules_of(chart, charts))
            _add(texts, in_folder(name, documents))
        asked, offered, refused = self._rules(charts)
        before_mirror = {
            concern: f"component-{concern}-is-listed-before-component-{self._mirror}"
            for concern, each in self._components.items()
            if self._mirror and _brings_images(before[concern], rendered[each.having])
        }
        for concern, each in self._components.items():
            documents = component_documents(
                concern,
                before[concern],
                rendered[each.having],
                asked=asked[concern],
                offered=[*offered[concern], *refused[concern]],
                refused=[*refused[concern], *(before_mirror[each] for each in [concern] if each in before_mirror)],
                writers=_writers(rendered[chart] for chart in (charts if each.charts is None else each.charts)),
            )
            _add(texts, in_folder(f"{COMPONENTS}/{concern}", documents))
        if self._mirror:
            documents = mirror_documents(self._mirror, before_mirror.values())
            _add(texts, in_folder(f"{COMPONENTS}/{self._mirror}", documents))
        return texts

    def _rendering(self, part: cdk8s.Chart | Rendering) -> Rendering:
        if isinstance(part, Rendering):
            return part
        return self._frozen.get(part) or Rendering(part)

    def _apps(self, charts: Iterable[cdk8s.Chart]) -> Iterator[cdk8s.App]:
        """Yield this app, and those that the other charts are in."""
        yield self
        known = set(self.charts)
        for chart in charts:
            if chart not in known:
                app = cdk8s.App.of(chart)
                known.update(app.charts)
                yield app

    def _rules_of(self, chart: cdk8s.Chart, names: Mapping[cdk8s.Chart, str]) -> list[str]:
        return [
            _goes_with(concern, [names[chart] for chart in each.charts])
            for concern, each in self._components.items()
            if each.charts is not None and chart in each.charts
        ]

    def _rules(
        self, names: Mapping[cdk8s.Chart, str]
    ) -> tuple[dict[str, list[str]], dict[str, list[str]], dict[str, list[str]]]:
        """Return the rules that each component asks for, those that it brings, and those that it alone may bring."""
        asked: defaultdict[str, list[str]] = defaultdict(list)
        offered: defaultdict[str, list[str]] = defaultdict(list)
        refused: defaultdict[str, list[str]] = defaultdict(list)
        made_by = {
            each.having: concern for concern, each in self._components.items() if isinstance(each.having, cdk8s.Chart)
        }
        for concern, each in self._components.items():
            if each.charts is not None:
                asked[concern].append(_goes_with(concern, [names[chart] for chart in each.charts]))
            made = [made_by[each.without]] if each.without in made_by else []
            for first in (*made, *each.after):
                rule = f"component-{first}-is-listed-before-component-{concern}"
                asked[concern].append(rule)
                offered[first].append(rule)
            for other in each.never_with:
                rule = f"either-component-{concern}-or-component-{other}"
                refused[concern].append(rule)
                refused[other].append(rule)
        return asked, offered, refused

    def _print(self, folder: Folder) -> None:
        if not folder.changes:
            return
        counts = Counter(change.kind for change in folder.changes)
        hint = "" if self._show_difference else f" ({SHOW_DIFFERENCE}=yes shows the lines)"
        print(f"{folder.path}: {', '.join(f'{count} {kind}' for kind, count in sorted(counts.items()))}{hint}")
        for change in folder.changes:
            print(f"  {change.kind:8}{change.name}")
        if self._show_difference:
            for change in folder.changes:
                print(*change.lines(), sep="", end="")


def _validate(app: cdk8s.App) -> None:
    """Have all constructs of an app validated, which cdk8s does whenever it renders any of its charts."""
    chart = cdk8s.Chart(app, "nothing")
    try:
        chart.to_json()
    finally:
        app.node.try_remove_child(chart.node.id)


def _add(texts: Texts, more: Texts) -> None:
    if both := sorted(texts.keys() & more.keys()):
        raise ValueError(f"a chart and a component would both write {', '.join(both)}: rename one of them")
    texts |= more


def _writers(charts: Iterable[Rendering]) -> list[Manifest]:
    """Return the StatefulSets of charts, one of each name."""
    found = (each for chart in charts for each in chart.manifests if each["kind"] == "StatefulSet")
    return list({each["metadata"]["name"]: each for each in found}.values())


def _brings_images(without: Rendering | None, having: Rendering) -> bool:
    before = {image for manifest in without.manifests for image in images(manifest)} if without else set()
    return any(images(manifest) - before for manifest in having.manifests)


def _goes_with(concern: str, charts: Iterable[str]) -> str:
    return f"component-{concern}-goes-with-chart-{'-or-'.join(charts)}"
