"""Sizes of stages and images by category."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from stagelens.snapshot import Entry, Exploration, FileTable
from stagelens.snapshot.layers import ImageLayers, Layer
from stagelens.views import SizeCompare, image_breakdown
from stagelens.views.size_breakdown import stage_breakdowns

DOCKERFILE = """\
FROM jdk AS builder
RUN mvn package
FROM builder AS tested
FROM jre
COPY --from=builder /src/app.jar /app/
"""
LIBC = Entry("lib/libc.so", "file", size=10, mtime=1)
JDK = [LIBC, Entry("usr/lib/jvm/javac", "file", size=500, mtime=1)]
WORK = [
    Entry("root/.m2/repository/spring.jar", "file", size=300),
    Entry("root/.cache/index", "file", size=7),
    Entry("usr/bin/mvn", "file", size=40),
    Entry("src/Main.java", "file", size=3),
    Entry("src/app.jar", "file", size=60, mtime=9),
    Entry("src/<b>", "symlink", link_target="app.jar"),
]
FINAL = [
    LIBC,
    Entry("app/app.jar", "file", size=60, mtime=9),
    Entry("app/node_modules/x/y.js", "file", size=5),
]


@pytest.fixture(scope="module")
def build(explored: Callable[..., Exploration]) -> Exploration:
    built = [*JDK, *WORK]
    return explored(DOCKERFILE, [JDK, built], [built], [[LIBC], FINAL])


def test_builder_stage_is_divided_into_categories(build: Exploration) -> None:
    builder, tested, final = stage_breakdowns(build)
    assert builder.sizes == {"base": 10, "dependencies": 300, "tools": 547, "app": 63}
    assert tested.sizes == builder.sizes
    assert final.sizes == {"base": 10, "dependencies": 5, "tools": 0, "app": 60}
    assert (builder.files, builder.final, final.final) == (8, False, True)


def test_base_files_are_recognized_through_several_stages(explored: Callable[..., Exploration]) -> None:
    count = 1100
    chain = "".join(f"FROM s{number} AS s{number + 1}\n" for number in range(count))
    breakdowns = stage_breakdowns(explored(f"FROM base AS s0\n{chain}", [JDK], *[[JDK]] * count))
    assert breakdowns[-1].sizes == {"base": 510, "dependencies": 0, "tools": 0, "app": 0}


def test_groups_add_up_to_the_total(build: Exploration) -> None:
    for breakdown in stage_breakdowns(build):
        for category, size in breakdown.sizes.items():
            assert sum(g.size for g in breakdown.groups if g.category == category) == size


def test_many_folders_are_the_largest_and_a_rest(explored: Callable[..., Exploration]) -> None:
    many = [Entry(f"srv/d{n}/f", "file", size=n + 1) for n in range(100)]
    (breakdown,) = stage_breakdowns(explored("FROM base\nRUN x\n", [[], many]))
    assert len(breakdown.groups) == 25
    assert breakdown.groups[0].size == 100
    assert breakdown.groups[-1].folder == ""
    assert sum(group.size for group in breakdown.groups) == breakdown.size == 5050


def layer(index: int, *entries: Entry) -> Layer:
    return Layer(f"sha256:{index:064}", 0, FileTable.from_entries(entries), index=index, created_by="")


def test_files_in_layers_shared_with_the_base_image_are_base() -> None:
    base = ImageLayers("base", (layer(0, LIBC),))
    image = ImageLayers("image", (*base.layers, layer(1, Entry("app", "file", size=9))))
    assert image_breakdown("app", image, base).sizes == {"base": 10, "dependencies": 0, "tools": 0, "app": 9}
    assert image_breakdown("app", image).sizes["base"] == 0
    assert image_breakdown("none", ImageLayers("none", ())).size == 0


def test_static_fallback_and_text_show_sizes(build: Exploration) -> None:
    view = SizeCompare(build)
    assert str(view).splitlines() == [
        "builder: 920 B (base image 10 B, dependencies 300 B, build tools 547 B, app 63 B)",
        "tested: 920 B (base image 10 B, dependencies 300 B, build tools 547 B, app 63 B)",
        "stage-2: 75 B (base image 10 B, dependencies 5 B, app 60 B)",
    ]
    html = view._repr_html_()
    assert "<script" not in html
    assert "build tools" in html
    assert "빌드 도구" in SizeCompare(build, language="ko")._repr_html_()


def test_folders_do_not_count_and_caches_of_the_base_image_are_base(
    explored: Callable[..., Exploration],
) -> None:
    base = [Entry("var", "dir"), Entry("var/cache", "dir"), Entry("var/cache/x", "file", size=8)]
    (breakdown,) = stage_breakdowns(explored("FROM jre\nRUN x\n", [base, [*base, Entry("l", "symlink")]]))
    assert breakdown.files == 2
    assert breakdown.sizes == {"base": 8, "dependencies": 0, "tools": 0, "app": 0}
