"""What can be said of base images without an engine."""

from __future__ import annotations

import io
import os
import shutil
import sys
import tarfile
from pathlib import Path

import docker
import pytest

from stagelens.dockerfile import load
from stagelens_course import images
from stagelens_course.images import base, certificates, debian, host, replica
from stagelens_course.images.errors import ReplicaFailed
from stagelens_course.images.model import KINDS, LABEL, index
from stagelens_course.images.process import run

ONE = b"-----BEGIN CERTIFICATE-----\nMIIBszCC\n-----END CERTIFICATE-----"
TWO = b"-----BEGIN CERTIFICATE-----\nMIICAAAA\n-----END CERTIFICATE-----"


def test_lessons_name_known_images() -> None:
    assert images.LESSON_IMAGES["01-multi-stage"] == ("diamol/base",)
    assert {name for names in images.LESSON_IMAGES.values() for name in names} <= set(images.NAMES)


@pytest.mark.network
@pytest.mark.skipif(shutil.which("apt-get") is None or os.geteuid() != 0, reason="root on Debian or Ubuntu")
def test_a_machine_without_lists_of_packages_gets_them() -> None:
    ask = "from stagelens_course.images import host; print(host.apt_sources()[0].suite == host.codename())"
    script = 'mount -t tmpfs none /var/lib/apt/lists && exec "$0" -c "$1"'
    assert run(["unshare", "--mount", "sh", "-c", script, sys.executable, ask]).strip() == "True"


class TestIndex:
    def row(self, *tags: str, **labels: str) -> dict[str, object]:
        return {"Id": "sha256:1", "Size": 7, "RepoTags": list(tags), "Labels": labels or None}

    def test_a_label_makes_a_replica(self) -> None:
        found = index([self.row("diamol/base:latest", **{LABEL: "abc"})])["diamol/base"]
        assert (found.image.origin, found.recipe, found.image.size) == ("replica", "abc", 7)

    def test_without_the_label_it_is_published(self) -> None:
        assert index([self.row("diamol/base:latest")])["diamol/base"].image.origin == "published"

    def test_other_tags_and_untagged_images_do_not_count(self) -> None:
        assert index([self.row("diamol/base:old"), {"Id": "x", "Size": 1, "RepoTags": None}]) == {}

    def test_podman_puts_a_registry_before_the_name(self) -> None:
        assert "diamol/base" in index([self.row("localhost/diamol/base:latest")])


class TestCertificates:
    def test_a_bundle_is_split_and_doubles_are_dropped(self) -> None:
        found = certificates.split([b"# one\n" + ONE + b"\n" + TWO, ONE])
        assert [text.count(b"BEGIN") for text in found.values()] == [1, 1]
        assert all(name.endswith(".crt") for name in found)

    def test_line_ends_of_windows_do_not_matter(self) -> None:
        assert certificates.split([ONE.replace(b"\n", b"\r\n")]) == certificates.split([ONE])

    def test_setting_and_host_folder_come_together(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "host").mkdir()
        (tmp_path / "host" / "a.crt").write_bytes(ONE)
        (tmp_path / "mine.pem").write_bytes(TWO)
        monkeypatch.setenv("STAGELENS_EXTRA_CA", str(tmp_path / "mine.pem"))
        assert len(certificates.extra(tmp_path / "host")) == 2

    @pytest.mark.parametrize("content", [None, b"no certificate"])
    def test_a_setting_without_certificate_is_an_error(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None
    ) -> None:
        path = tmp_path / "mine.pem"
        if content is not None:
            path.write_bytes(content)
        monkeypatch.setenv("STAGELENS_EXTRA_CA", str(path))
        with pytest.raises(images.ImagesError, match="STAGELENS_EXTRA_CA"):
            certificates.extra(tmp_path / "none")

    def test_base_gets_only_what_the_hosts_bundle_lacks(self, tmp_path: Path) -> None:
        bundle = tmp_path / "bundle.crt"
        bundle.write_bytes(ONE + b"\n")
        assert base.bundle(certificates.split([ONE, TWO]), bundle) == ONE + b"\n" + TWO + b"\n"


class TestHost:
    def test_sources_of_other_vendors_and_suites_are_left_out(self) -> None:
        lines = "h:/d/|bookworm|main\nh:/d/|bookworm-updates|main\nh:/x|nodistro|main\nh:/y|x-bookworm|main\n"
        lines += "h:/z|bookworm|stable\nbroken\nh:/d/|bookworm|main\n"
        found = host.parse_targets(lines, "bookworm")
        assert [s.line() for s in found] == ["deb h:/d/ bookworm main\n", "deb h:/d/ bookworm-updates main\n"]

    def test_a_missing_program_is_named_with_the_command_that_installs_it(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(host, "codename", lambda: "bookworm")
        monkeypatch.setattr(host.sys, "platform", "linux")
        monkeypatch.setattr(host.os, "geteuid", lambda: 0)
        monkeypatch.setattr(host.shutil, "which", lambda name, path: None if name == "nothing" else name)
        with pytest.raises(ReplicaFailed, match=r"apt-get install .* nothing"):
            host.require_debian("nothing")

    def test_other_systems_are_sent_to_a_mirror(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(host.sys, "platform", "darwin")
        with pytest.raises(ReplicaFailed, match="STAGELENS_REGISTRY_MIRROR"):
            host.require_debian()


class TestDebian:
    @pytest.mark.skipif(not debian.BUNDLE.is_file(), reason="a host with a CA bundle")
    @pytest.mark.parametrize("scheme", ["http", "https"])
    def test_what_the_host_trusts_comes_along_where_packages_come_over_tls(
        self, tmp_path: Path, scheme: str
    ) -> None:
        for folder in ("etc/ssl/certs", "etc/apt/apt.conf.d", "etc/dpkg/dpkg.cfg.d"):
            (tmp_path / folder).mkdir(parents=True)
        debian.settle(tmp_path, [host.AptSource(f"{scheme}://h/d", "bookworm", "main")])
        copied = tmp_path / "etc/ssl/certs/ca-certificates.crt"
        assert copied.exists() == (scheme == "https")
        assert (tmp_path / "etc/apt/sources.list").read_text() == f"deb {scheme}://h/d bookworm main\n"


class TestBaseFiles:
    def members(self) -> dict[str, tarfile.TarInfo]:
        data = base.pack(b"program", ["bin/sh", "usr/bin/[", "linuxrc"], base.FILES)
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            return {member.name: member for member in tar}

    def test_every_applet_is_a_link_to_busybox(self) -> None:
        members = self.members()
        assert {members[p].linkname for p in ("bin/sh", "usr/bin/[", "linuxrc")} == {"/bin/busybox"}

    def test_tmp_is_open_to_all_and_sticky(self) -> None:
        assert self.members()["tmp"].mode == 0o1777

    def test_folders_come_before_what_is_in_them(self) -> None:
        names = list(self.members())
        assert all(names.index(str(Path(n).parent)) < names.index(n) for n in names if "/" in n)

    def test_the_same_input_gives_the_same_bytes(self) -> None:
        assert base.pack(b"p", ["bin/sh"], {}) == base.pack(b"p", ["bin/sh"], {})

    @pytest.mark.skipif(sys.platform != "linux", reason="ELF")
    def test_a_program_with_an_interpreter_is_not_static(self) -> None:
        assert not base.is_static(Path(shutil.which("env") or "").read_bytes())
        assert not base.is_static(b"#!/bin/sh\n")

    def test_the_program_is_found_among_files_of_its_name(self, tmp_path: Path) -> None:
        static = bytearray(64)
        static[:6] = b"\x7fELF\x02\x01"
        for place, content in (("a/hooks", b"#!/bin/sh\n"), ("bin", bytes(static)), ("z", b"text")):
            (tmp_path / place).mkdir(parents=True)
            (tmp_path / place / "busybox").write_bytes(content)
        assert base.program(tmp_path) == tmp_path / "bin/busybox"
        (tmp_path / "bin/busybox").unlink()
        with pytest.raises(ReplicaFailed, match="holds no static busybox"):
            base.program(tmp_path)


class TestRecipes:
    @pytest.mark.parametrize("kind", KINDS)
    def test_a_certificate_changes_the_recipe(self, kind: str) -> None:
        assert replica.recipe(kind, {}) != replica.recipe(kind, certificates.split([ONE]))
        assert replica.recipe(kind, {}) == replica.recipe(kind, {})

    def test_settings_of_the_base_image_come_from_its_dockerfile(self) -> None:
        text = (replica.RECIPES / "base" / "Dockerfile").read_text()
        assert 'CMD ["sh"]' in replica.changes(text)
        assert all(line.startswith(("ENV ", "CMD ")) for line in replica.changes(text))

    def test_the_java_images_begin_with_the_same_instruction_and_so_share_a_layer(self) -> None:
        files = [load(replica.RECIPES / kind / "Dockerfile") for kind in ("openjdk", "maven")]
        first, second = (file.stages[0].instructions[1].source for file in files)
        assert "openjdk-17-jre-headless" in first
        assert first == second

    def test_proxies_of_the_environment_reach_a_build(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:3128")
        monkeypatch.setenv("no_proxy", "localhost")
        given = replica.proxies(docker.APIClient(base_url="tcp://127.0.0.1:1", version="1.41"))
        assert given["HTTPS_PROXY"] == "http://127.0.0.1:3128"
        assert given["no_proxy"] == "localhost"

    def test_a_failed_program_is_told_with_its_last_lines(self) -> None:
        with pytest.raises(ReplicaFailed, match=r"exit code 3[\s\S]*some reason"):
            run(["sh", "-c", "echo some reason >&2; exit 3"])


def test_a_debians_folder_is_removed_on_a_machine_that_stands_still(tmp_path: Path, stalling: None) -> None:
    (tmp_path / "root/usr").mkdir(parents=True)
    debian._remove(tmp_path / "root")
    assert not (tmp_path / "root").exists()
