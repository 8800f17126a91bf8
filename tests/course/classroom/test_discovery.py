"""Discovery in plain folders, downloads of Moodle and Canvas, nbgrader's tree, and archives of them."""

from __future__ import annotations

import io
import os
import resource
import tarfile
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stagelens_testing.resources import resource_limit

from stagelens.errors import StagelensError
from stagelens_course.classroom.intake import (
    ArchiveLimits,
    FoundSubmissions,
    SubmissionRejected,
    find_submissions,
    pack_submission,
)
from stagelens_course.classroom.intake.lms_names import learner_key, parse_owner, strip_resubmission_number

EXERCISE = "multi-stage-go"
DOCKERFILE = "FROM scratch\n"


def zipped(files: dict[str, str | bytes]) -> bytes:
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return body.getvalue()


PROJECT = zipped({"Dockerfile": DOCKERFILE})


def write_files(folder: Path, files: dict[str, str | bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def summary(found: FoundSubmissions) -> dict[str, tuple[str, dict[str, str]]]:
    return {s.learner: (s.name, dict(s.ids)) for s in found.submissions}


MOODLE_FOLDERS: dict[str, str | bytes] = {
    "Jane Doe_101_assignsubmission_file/Dockerfile": DOCKERFILE,
    "김 하늘_102_assignsubmission_file_/work.zip": PROJECT,
    "Ann O'Hara_103_assignsubmission_onlinetext/onlinetext.html": "<p>see my file</p>",
    "Ann O'Hara_103_assignsubmission_file/sub/Dockerfile": DOCKERFILE,
}
MOODLE_FILES: dict[str, str | bytes] = {
    "Jane Doe_101_assignsubmission_file_Dockerfile": DOCKERFILE,
    "Jane Doe_101_assignsubmission_file_main.go": "package main",
    "Participant_102_assignsubmission_file_work.zip": PROJECT,
}
CANVAS: dict[str, str | bytes] = {
    "doejane_4711_9001_work.zip": PROJECT,
    "kimhaneul_LATE_4712_9002_work-2.zip": PROJECT,
    "ohara_mary_4713_9003_Dockerfile-1": DOCKERFILE,
    "ohara_mary_4713_9004_main-1.go": "package main",
    "anon_x1Y2z_9005_work.zip": PROJECT,
}
NBGRADER: dict[str, str | bytes] = {
    "submitted/jane/multi-stage-go/Dockerfile": DOCKERFILE,
    "submitted/jane/multi-stage-go/timestamp.txt": "2026-01-01",
    "submitted/jane/other/notebook.ipynb": "{}",
    "submitted/kim/multi-stage-go/work.zip": PROJECT,
}
PLAIN: dict[str, str | bytes] = {
    "jane/Dockerfile": DOCKERFILE,
    "kim.zip": PROJECT,
    "lee.tar.gz": b"\x1f\x8b damaged",
    "notes.txt": "not a submission",
}
EXPECTED: list[tuple[str, dict[str, str | bytes], dict[str, tuple[str, dict[str, str]]]]] = [
    (
        "moodle folders",
        MOODLE_FOLDERS,
        {
            "ann-o-hara-103": ("Ann O'Hara", {"moodle": "103"}),
            "jane-doe-101": ("Jane Doe", {"moodle": "101"}),
            "김-하늘-102": ("김 하늘", {"moodle": "102"}),
        },
    ),
    (
        "moodle files",
        MOODLE_FILES,
        {
            "jane-doe-101": ("Jane Doe", {"moodle": "101"}),
            "participant-102": ("Participant", {"moodle": "102"}),
        },
    ),
    (
        "canvas",
        CANVAS,
        {
            "anon-x1y2z-x1y2z": ("anon x1Y2z", {"canvas": "x1Y2z"}),
            "doejane-4711": ("doejane", {"canvas": "4711"}),
            "kimhaneul-4712": ("kimhaneul", {"canvas": "4712"}),
            "ohara_mary-4713": ("ohara_mary", {"canvas": "4713"}),
        },
    ),
    ("nbgrader", NBGRADER, {"jane": ("jane", {"nbgrader": "jane"}), "kim": ("kim", {"nbgrader": "kim"})}),
    ("plain", PLAIN, {"jane": ("jane", {}), "kim": ("kim", {}), "lee": ("lee", {})}),
]


@pytest.mark.parametrize("as_archive", ["folder", "zip", "wrapped zip", "tar"])
@pytest.mark.parametrize(("layout", "files", "expected"), EXPECTED, ids=[row[0] for row in EXPECTED])
def test_each_layout_is_recognized_as_folder_and_archive(
    tmp_path: Path,
    layout: str,
    files: dict[str, str | bytes],
    expected: dict[str, tuple[str, dict[str, str]]],
    as_archive: str,
) -> None:
    path = write_files(tmp_path / "class", files)
    if as_archive == "zip":
        path = tmp_path / "class.zip"
        path.write_bytes(zipped(files))
    elif as_archive == "wrapped zip":
        path = tmp_path / "class.zip"
        path.write_bytes(zipped({f"download/{name}": content for name, content in files.items()}))
    elif as_archive == "tar":
        path = tmp_path / "class.tgz"
        with tarfile.open(path, "w:gz") as archive:
            archive.add(tmp_path / "class", "class")
    with find_submissions(path, EXERCISE) as found:
        assert summary(found) == expected
        for submission in found.submissions:
            if submission.learner == "lee":
                with pytest.raises(SubmissionRejected, match="damaged"):
                    pack_submission(submission)
            else:
                assert b"Dockerfile" in pack_submission(submission).tar


def test_loose_files_get_their_original_names(tmp_path: Path) -> None:
    with find_submissions(write_files(tmp_path, {**CANVAS, **MOODLE_FILES}), EXERCISE) as found:
        loose = {s.learner: sorted(s.loose_files) for s in found.submissions if s.loose_files}
        late = [s.learner for s in found.submissions if s.late]
    assert loose == {
        "jane-doe-101": ["Dockerfile", "main.go"],
        "ohara_mary-4713": ["Dockerfile", "main.go"],
    }
    assert late == ["kimhaneul-4712"]


def test_files_of_no_learner_are_listed(tmp_path: Path) -> None:
    with find_submissions(write_files(tmp_path, PLAIN), EXERCISE) as found:
        assert found.ignored == ("notes.txt",)


def test_single_project_is_a_class_of_one(tmp_path: Path) -> None:
    project = write_files(tmp_path / "mine", {"Dockerfile": DOCKERFILE})
    archive = tmp_path / "yours.zip"
    archive.write_bytes(zipped({"deep/Dockerfile": DOCKERFILE}))
    for path, learner in ((project, "mine"), (archive, "yours")):
        with find_submissions(path, EXERCISE) as found:
            assert [s.learner for s in found.submissions] == [learner]
            pack_submission(found.submissions[0])


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"jane.zip": PROJECT, "jane/Dockerfile": DOCKERFILE}, "several submissions"),
        ({"Jane_1_assignsubmission_onlinetext_text.html": "hi"}, "online text"),
        (
            {"doejane_1_2_a.zip": PROJECT, "doejane_1_3_b.zip": PROJECT},
            "archive is among several files",
        ),
    ],
)
def test_ambiguous_submission_is_rejected_with_the_reason(
    tmp_path: Path, files: dict[str, str | bytes], words: str
) -> None:
    with (
        find_submissions(write_files(tmp_path, files), EXERCISE) as found,
        pytest.raises(SubmissionRejected, match=words),
    ):
        pack_submission(found.submissions[0])


def test_learners_with_similar_names_get_distinct_stable_keys(tmp_path: Path) -> None:
    write_files(
        tmp_path,
        {"Jane Doe/Dockerfile": DOCKERFILE, "jane-doe/Dockerfile": DOCKERFILE, "kim/Dockerfile": DOCKERFILE},
    )
    keys: list[list[str]] = []
    for _ in range(2):
        with find_submissions(tmp_path, EXERCISE) as found:
            keys.append([s.learner for s in found.submissions])
    assert keys[0] == keys[1]
    assert len(set(keys[0])) == 3
    assert "kim" in keys[0]


def test_unicode_normalization_does_not_change_a_key() -> None:
    assert (
        learner_key("Rene\u0301e M\u00fcller")
        == learner_key("Ren\u00e9e Mu\u0308ller")
        == "ren\u00e9e-m\u00fcller"
    )


def test_symlinks_in_a_class_folder_are_not_followed(tmp_path: Path) -> None:
    outside = write_files(tmp_path / "outside", {"Dockerfile": DOCKERFILE})
    folder = write_files(tmp_path / "class", {"kim/Dockerfile": DOCKERFILE})
    (folder / "jane").symlink_to(outside)
    with find_submissions(folder, EXERCISE) as found:
        problems = {s.learner: s.problem for s in found.submissions}
    assert problems == {"jane": "The submission is a symlink.", "kim": None}


def test_bad_entry_of_a_class_archive_affects_only_its_learner(tmp_path: Path) -> None:
    path = tmp_path / "class.tar"
    with tarfile.open(path, "w") as archive:
        for name, kind in (
            ("Jane_1_assignsubmission_file/pipe", tarfile.FIFOTYPE),
            ("Kim_2_assignsubmission_file/a\nb", tarfile.REGTYPE),
            ("Lee_3_assignsubmission_file/Dockerfile", tarfile.REGTYPE),
            ("Ann_4_assignsubmission_file/work.zip", tarfile.REGTYPE),
        ):
            info = tarfile.TarInfo(name)
            info.type = kind
            info.size = 3000 if name.endswith(".zip") else 0
            archive.addfile(info, io.BytesIO(bytes(info.size)))
    with find_submissions(path, EXERCISE, ArchiveLimits(max_archive_bytes=2000)) as found:
        problems = {s.name: s.problem or "" for s in found.submissions}
    assert problems["Lee"] == ""
    assert "pipe" in problems["Jane"]
    assert "control characters" in problems["Kim"]
    assert "larger than 2000" in problems["Ann"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (zipped({"../../evil": "x"}), "points outside"),
        (zipped({"jane/Dockerfile": DOCKERFILE})[:-30], "damaged"),
        (b"just text", "not a zip or tar"),
    ],
)
def test_damaged_or_escaping_class_archive_is_rejected(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "class.zip"
    path.write_bytes(content)
    with pytest.raises(SubmissionRejected, match=words), find_submissions(path, EXERCISE):
        pass
    assert [entry.name for entry in tmp_path.iterdir()] == ["class.zip"]


def test_error_for_no_submissions_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(StagelensError, match="No submissions") as empty, find_submissions(tmp_path, EXERCISE):
        pass
    assert "for each learner" in str(empty.value)
    with (
        pytest.raises(StagelensError, match="No submissions"),
        find_submissions(tmp_path / "missing", EXERCISE),
    ):
        pass


def test_extracted_class_archive_is_removed_after_an_error(tmp_path: Path) -> None:
    path = tmp_path / "class.zip"
    path.write_bytes(zipped({"jane/Dockerfile": DOCKERFILE, "kim/Dockerfile": DOCKERFILE}))
    sources: list[Path] = []
    with suppress(ZeroDivisionError), find_submissions(path, EXERCISE) as found:
        sources += [s.source for s in found.submissions]
        raise ZeroDivisionError
    assert len(sources) == 2
    assert not any(source.exists() for source in sources)


def test_machine_error_does_not_reject_a_submission(tmp_path: Path) -> None:
    path = tmp_path / "class.zip"
    path.write_bytes(zipped({"jane/Dockerfile": DOCKERFILE, "kim/main.go": "x" * 5000}))
    full = resource_limit(resource.RLIMIT_FSIZE, 1000)
    with (
        full,
        pytest.raises(StagelensError, match="cannot be extracted") as error,
        find_submissions(path, EXERCISE),
    ):
        pass
    assert "File too large" in str(error.value)
    assert not isinstance(error.value, SubmissionRejected)
    with (
        find_submissions(path, EXERCISE) as found,
        resource_limit(resource.RLIMIT_NOFILE, 0),
        pytest.raises(OSError),
    ):
        pack_submission(found.submissions[0])


def test_pipe_instead_of_a_file_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "Jane Doe_101_assignsubmission_file_Dockerfile")
    with (
        find_submissions(tmp_path, EXERCISE) as found,
        pytest.raises(SubmissionRejected, match="neither a file nor a folder"),
    ):
        pack_submission(found.submissions[0])


@given(st.text(max_size=80), st.text(max_size=20))
def test_learner_key_is_a_safe_file_name(name: str, number: str) -> None:
    key = learner_key(name, number)
    assert 0 < len(key) <= 60
    assert not set(key) & set("/\\\0\n <>&\"'")
    assert not key.startswith((".", "-"))


@given(
    st.from_regex(r"[^_\0/]{1,20}", fullmatch=True),
    st.integers(0, 10**9),
    st.from_regex(r"[^\0/]{1,20}", fullmatch=True),
)
def test_moodle_names_are_parsed(name: str, number: int, file: str) -> None:
    owner = parse_owner(f"{name}_{number}_assignsubmission_file_{file}")
    assert owner is not None
    assert (owner.name, owner.number, owner.file) == (name, str(number), file)


@given(
    st.from_regex(r"[a-z가-힣]{1,20}", fullmatch=True),
    st.integers(0, 10**9),
    st.booleans(),
    st.from_regex(r"[a-zA-Z.-]{1,20}", fullmatch=True),
)
def test_canvas_names_are_parsed(name: str, number: int, late: bool, file: str) -> None:
    owner = parse_owner(f"{name}{'_LATE' if late else ''}_{number}_77_{file}")
    assert owner is not None
    assert (owner.name, owner.number, owner.file, owner.late) == (name, str(number), file, late)


@pytest.mark.parametrize(
    ("name", "original"),
    [("work-1.zip", "work.zip"), ("Dockerfile-12", "Dockerfile"), ("main.go", "main.go")],
)
def test_canvas_resubmission_number_is_stripped(name: str, original: str) -> None:
    assert strip_resubmission_number(name) == original
