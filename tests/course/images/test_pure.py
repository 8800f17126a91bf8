"""Rules of the base images that need no engine."""

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
from stagelens_course.images import apt, base, certificates, debian, replica
from stagelens_course.images.model import KINDS, REPLICA_LABEL, ReplicaFailed, index_images
from stagelens_course.images.programs import run_program

ONE = b"-----BEGIN CERTIFICATE-----\nMIIBszCC\n-----END CERTIFICATE-----"
TWO = b"-----BEGIN CERTIFICATE-----\nMIICAAAA\n-----END CERTIFICATE-----"


def test_lessons_need_known_images_only() -> None:
    assert images.LESSON_IMAGES["01-multi-stage"] == ("diamol/base",)
    assert {name for names in images.LESSON_IMAGES.values() for name in names} <= set(images.NAMES)


@pytest.mark.network
@pytest.mark.skipif(shutil.which("apt-get") is None or os.geteuid() != 0, reason="root on Debian or Ubuntu")
def test_missing_package_lists_are_downloaded() -> None:
    code = "from stagelens_course.images import apt; print(apt.release_sources()[0].suite == apt.codename())"
    script = 'mount -t tmpfs none /var/lib/apt/lists && exec "$0" -c "$1"'
    command = ["unshare", "--mount", "sh", "-c", script, sys.executable, code]
    assert run_program(command).strip() == "True"


class TestIndex:
    def row(self, *tags: str, **labels: str) -> dict[str, object]:
        return {"Id": "sha256:1", "Size": 7, "RepoTags": list(tags), "Labels": labels or None}

    def test_labelled_image_is_a_replica(self) -> None:
        found = index_images([self.row("diamol/base:latest", **{REPLICA_LABEL: "abc"})])["diamol/base"]
        assert (found.image.origin, found.recipe, found.image.size) == ("replica", "abc", 7)

    def test_image_without_the_label_is_published(self) -> None:
        assert index_images([self.row("diamol/base:latest")])["diamol/base"].image.origin == "published"

    def test_other_tags_and_untagged_images_are_ignored(self) -> None:
        assert index_images([self.row("diamol/base:old"), {"Id": "x", "Size": 1, "RepoTags": None}]) == {}

    def test_podmans_registry_prefix_is_ignored(self) -> None:
        assert "diamol/base" in index_images([self.row("localhost/diamol/base:latest")])


class TestCertificates:
    def test_bundle_is_split_without_duplicates(self) -> None:
        found = certificates.split_bundles([b"# one\n" + ONE + b"\n" + TWO, ONE])
        assert [text.count(b"BEGIN") for text in found.values()] == [1, 1]
        assert all(name.endswith(".crt") for name in found)

    def test_windows_line_ends_make_no_difference(self) -> None:
        assert certificates.split_bundles([ONE.replace(b"\n", b"\r\n")]) == certificates.split_bundles([ONE])

    def test_certificates_come_from_the_setting_and_the_host_folder(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "host").mkdir()
        (tmp_path / "host" / "a.crt").write_bytes(ONE)
        (tmp_path / "mine.pem").write_bytes(TWO)
        monkeypatch.setenv("STAGELENS_EXTRA_CA", str(tmp_path / "mine.pem"))
        assert len(certificates.extra_certificates(tmp_path / "host")) == 2

    @pytest.mark.parametrize("content", [None, b"no certificate"])
    def test_setting_without_a_certificate_is_an_error(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None
    ) -> None:
        path = tmp_path / "mine.pem"
        if content is not None:
            path.write_bytes(content)
        monkeypatch.setenv("STAGELENS_EXTRA_CA", str(path))
        with pytest.raises(images.ImagesError, match="STAGELENS_EXTRA_CA"):
            certificates.extra_certificates(tmp_path / "none")

    def test_only_certificates_missing_in_the_host_bundle_are_added(self, tmp_path: Path) -> None:
        bundle = tmp_path / "bundle.crt"
        bundle.write_bytes(ONE + b"\n")
        assert base.ca_bundle(certificates.split_bundles([ONE, TWO]), bundle) == ONE + b"\n" + TWO + b"\n"


class TestApt:
    def test_sources_of_other_vendors_and_suites_are_ignored(self) -> None:
        lines = "h:/d/|bookworm|main\nh:/d/|bookworm-updates|main\nh:/x|nodistro|main\nh:/y|x-bookworm|main\n"
        lines += "h:/z|bookworm|stable\nbroken\nh:/d/|bookworm|main\n"
        found = apt.parse_targets(lines, "bookworm")
        assert [s.line() for s in found] == ["deb h:/d/ bookworm main\n", "deb h:/d/ bookworm-updates main\n"]

    def test_missing_program_is_reported_with_its_install_command(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(apt, "codename", lambda: "bookworm")
        monkeypatch.setattr(apt.sys, "platform", "linux")
        monkeypatch.setattr(apt.os, "geteuid", lambda: 0)
        monkeypatch.setattr(apt.shutil, "which", lambda name, path: None if name == "nothing" else name)
        with pytest.raises(ReplicaFailed, match=r"apt-get install .* nothing"):
            apt.require_debian("nothing")

    def test_other_systems_are_advised_to_use_a_mirror(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(apt.sys, "platform", "darwin")
        with pytest.raises(ReplicaFailed, match="STAGELENS_REGISTRY_MIRROR"):
            apt.require_debian()


class TestDebian:
    @pytest.mark.skipif(not debian.BUNDLE.is_file(), reason="a host with a CA bundle")
    @pytest.mark.parametrize("scheme", ["http", "https"])
    def test_host_bundle_is_copied_if_packages_come_over_tls(self, tmp_path: Path, scheme: str) -> None:
        for folder in ("etc/ssl/certs", "etc/apt/apt.conf.d", "etc/dpkg/dpkg.cfg.d"):
            (tmp_path / folder).mkdir(parents=True)
        debian.configure(tmp_path, [apt.AptSource(f"{scheme}://h/d", "bookworm", "main")])
        copied = tmp_path / "etc/ssl/certs/ca-certificates.crt"
        assert copied.exists() == (scheme == "https")
        assert (tmp_path / "etc/apt/sources.list").read_text() == f"deb {scheme}://h/d bookworm main\n"


class TestBaseFiles:
    def members(self) -> dict[str, tarfile.TarInfo]:
        data = base.pack_root(b"program", ["bin/sh", "usr/bin/[", "linuxrc"], base.FILES)
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            return {member.name: member for member in tar}

    def test_each_applet_is_a_symlink_to_busybox(self) -> None:
        members = self.members()
        assert {members[p].linkname for p in ("bin/sh", "usr/bin/[", "linuxrc")} == {"/bin/busybox"}

    def test_tmp_is_world_writable_and_sticky(self) -> None:
        assert self.members()["tmp"].mode == 0o1777

    def test_folders_precede_their_content(self) -> None:
        names = list(self.members())
        assert all(names.index(str(Path(n).parent)) < names.index(n) for n in names if "/" in n)

    def test_same_input_gives_the_same_bytes(self) -> None:
        assert base.pack_root(b"p", ["bin/sh"], {}) == base.pack_root(b"p", ["bin/sh"], {})

    @pytest.mark.skipif(sys.platform != "linux", reason="ELF")
    def test_program_with_an_interpreter_is_not_static(self) -> None:
        assert not base.is_static(Path(shutil.which("env") or "").read_bytes())
        assert not base.is_static(b"#!/bin/sh\n")

    def test_static_busybox_is_found_among_files_of_its_name(self, tmp_path: Path) -> None:
        static = bytearray(64)
        static[:6] = b"\x7fELF\x02\x01"
        for folder, content in (("a/hooks", b"#!/bin/sh\n"), ("bin", bytes(static)), ("z", b"text")):
            (tmp_path / folder).mkdir(parents=True)
            (tmp_path / folder / "busybox").write_bytes(content)
        assert base.find_static_busybox(tmp_path) == tmp_path / "bin/busybox"
        (tmp_path / "bin/busybox").unlink()
        with pytest.raises(ReplicaFailed, match="holds no static busybox"):
            base.find_static_busybox(tmp_path)


class TestRecipes:
    @pytest.mark.parametrize("kind", KINDS)
    def test_certificate_changes_the_recipe(self, kind: str) -> None:
        assert replica.recipe_digest(kind, {}) != replica.recipe_digest(
            kind, certificates.split_bundles([ONE])
        )
        assert replica.recipe_digest(kind, {}) == replica.recipe_digest(kind, {})

    def test_base_image_has_the_settings_of_its_dockerfile(self) -> None:
        text = (replica.RECIPES / "base" / "Dockerfile").read_text()
        assert 'CMD ["sh"]' in replica.image_settings(text)
        assert all(line.startswith(("ENV ", "CMD ")) for line in replica.image_settings(text))

    def test_java_images_share_their_first_layer(self) -> None:
        files = [load(replica.RECIPES / kind / "Dockerfile") for kind in ("openjdk", "maven")]
        first, second = (file.stages[0].instructions[1].source for file in files)
        assert "openjdk-17-jre-headless" in first
        assert first == second

    def test_proxy_variables_become_build_arguments(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:3128")
        monkeypatch.setenv("no_proxy", "localhost")
        given = replica.proxy_arguments(docker.APIClient(base_url="tcp://127.0.0.1:1", version="1.41"))
        assert given["HTTPS_PROXY"] == "http://127.0.0.1:3128"
        assert given["no_proxy"] == "localhost"

    def test_failed_program_is_reported_with_its_last_lines(self) -> None:
        with pytest.raises(ReplicaFailed, match=r"exit code 3[\s\S]*some reason"):
            run_program(["sh", "-c", "echo some reason >&2; exit 3"])


def test_debian_folder_is_removed_on_a_stalled_machine(tmp_path: Path, stalling: None) -> None:
    (tmp_path / "root/usr").mkdir(parents=True)
    debian._remove(tmp_path / "root")
    assert not (tmp_path / "root").exists()
