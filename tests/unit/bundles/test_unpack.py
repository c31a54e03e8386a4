"""Archives that would write elsewhere, too much, or what is no file, are refused whole; others come out as they went in."""

from __future__ import annotations

import os
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from bundle_world import make_folder, special, tar_entry, tar_of, zip_of
from hypothesis import given
from hypothesis import strategies as st

from streamer.bundles.archive import BadArchive, parts_of
from streamer.bundles.pack import pack
from streamer.bundles.unpack import unpack
from streamer.errors import Invalid

Maker = Callable[[Path], Path]

OUTSIDE = [
    "../evil.py",
    "/evil.py",
    "a/../../evil.py",
    "..",
    "a/..",
    "..\\evil.py",
    "C:\\evil.py",
    "evil\n.py",
    "x" * 256,
    "a/" * 600 + "b",
]

LINK = stat.S_IFLNK | 0o777
EVIL: dict[str, Maker] = {
    "zip link to the root": lambda at: zip_of(at / "a.zip", (special("out", LINK), b"/etc")),
    "zip link upwards": lambda at: zip_of(at / "a.zip", (special("a/out", LINK), b"../../secret")),
    "zip file through a link": lambda at: zip_of(at / "a.zip", (special("a", LINK), b"b"), ("b/x", b""), ("a/y", b"evil")),
    "zip link through links": lambda at: zip_of(
        at / "a.zip", ("x/y", b""), (special("a/b/c/d", LINK), b"../../../x"), (special("out", LINK), b"a/b/c/d/../../secret")
    ),
    "zip empty link": lambda at: zip_of(at / "a.zip", (special("a", LINK), b"")),
    "zip device": lambda at: zip_of(at / "a.zip", (special("dev", stat.S_IFCHR | 0o666), b"")),
    "zip pipe": lambda at: zip_of(at / "a.zip", (special("pipe", stat.S_IFIFO | 0o666), b"")),
    "zip file below a file": lambda at: zip_of(at / "a.zip", ("a", b"1"), ("a/b", b"2")),
    "zip bomb": lambda at: zip_of(at / "a.zip", ("zeros", bytes(2_000_000))),
    "zip many small": lambda at: zip_of(at / "a.zip", *((f"{n}", bytes(100_000)) for n in range(11))),
    "tar link to the root": lambda at: tar_of(at / "a.tar", (tar_entry("out", tarfile.SYMTYPE, "/etc"), b"")),
    "tar link upwards": lambda at: tar_of(at / "a.tar.gz", (tar_entry("a/out", tarfile.SYMTYPE, "../../x"), b"")),
    "tar file through a link": lambda at: tar_of(
        at / "a.tar", (tar_entry("a", tarfile.SYMTYPE, "b"), b""), (tar_entry("a/y"), b"evil")
    ),
    "tar hard link out": lambda at: tar_of(at / "a.tar", (tar_entry("a", tarfile.LNKTYPE, "/etc/passwd"), b"")),
    "tar hard link to nothing": lambda at: tar_of(at / "a.tar", (tar_entry("a", tarfile.LNKTYPE, "b"), b"")),
    "tar device": lambda at: tar_of(at / "a.tar", (tar_entry("dev", tarfile.CHRTYPE), b"")),
    "tar pipe": lambda at: tar_of(at / "a.tar", (tar_entry("pipe", tarfile.FIFOTYPE), b"")),
    "tar bomb": lambda at: tar_of(at / "a.tgz", (tar_entry("zeros"), bytes(2_000_000))),
    "tar huge header": lambda at: tar_of(at / "a.tar.gz", (tar_entry("x", tarfile.GNUTYPE_LONGNAME), bytes(3_000_000))),
    "no archive": lambda at: _text(at / "a.zip"),
    "no tar": lambda at: _text(at / "a.tar"),
    "no gzip": lambda at: _text(at / "a.tar.gz"),
    "another suffix": lambda at: _text(at / "a.rar"),
}  # fmt: skip


def _text(path: Path) -> Path:
    path.write_text("hello " * 200)
    return path


def suffix_of(path: Path) -> str:
    return path.name[1:]


@pytest.mark.parametrize("make", EVIL.values(), ids=EVIL.keys())
def test_an_evil_archive_is_refused_and_writes_nothing_outside(make: Maker, tmp_path: Path) -> None:
    archive = make(tmp_path)
    (tmp_path / "deep/folder").mkdir(parents=True)
    (tmp_path / "deep/secret").write_text("mine")

    with pytest.raises(BadArchive):
        unpack(str(archive), suffix_of(archive), str(tmp_path / "deep/folder"), size_limit_bytes=1_000_000)

    assert sorted(os.listdir(tmp_path)) == sorted([archive.name, "deep"])
    assert sorted(os.listdir(tmp_path / "deep")) == ["folder", "secret"]
    assert (tmp_path / "deep/secret").read_text() == "mine"


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_name_that_leads_out_is_refused_before_anything_is_written(name: str, kind: str, tmp_path: Path) -> None:
    if kind == "zip":
        archive = zip_of(tmp_path / "a.zip", (special(name, stat.S_IFREG | 0o644), b"evil"))
    else:
        archive = tar_of(tmp_path / "a.tar", (tar_entry(name), b"evil"))
    (tmp_path / "deep/folder").mkdir(parents=True)

    with pytest.raises(BadArchive):
        unpack(str(archive), suffix_of(archive), str(tmp_path / "deep/folder"))

    assert os.listdir(tmp_path / "deep") == ["folder"]
    assert os.listdir(tmp_path / "deep/folder") == []


def test_two_entries_of_one_name_are_refused(tmp_path: Path) -> None:
    archive = tar_of(tmp_path / "a.tar", (tar_entry("x.py"), b"good"), (tar_entry("./x.py"), b"evil"))

    with pytest.raises(BadArchive, match="one name"):
        unpack(str(archive), ".tar", None)


def test_a_password_is_refused(tmp_path: Path) -> None:
    body = bytearray(zip_of(tmp_path / "a.zip", ("x", b"1"), compress=False).read_bytes())
    body[body.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "a.zip").write_bytes(body)

    with pytest.raises(BadArchive, match="encrypted"):
        unpack(str(tmp_path / "a.zip"), ".zip", None)


def test_a_flipped_byte_is_found(tmp_path: Path) -> None:
    body = bytearray(zip_of(tmp_path / "a.zip", ("x", b"hello world"), compress=False).read_bytes())
    body[body.index(b"hello")] ^= 1
    (tmp_path / "a.zip").write_bytes(body)

    with pytest.raises(BadArchive, match="damaged"):
        unpack(str(tmp_path / "a.zip"), ".zip", None)


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_files_links_and_the_executable_bit_come_out_and_no_other_mode(kind: str, tmp_path: Path) -> None:
    archive = tmp_path / f"a.{kind}"
    if kind == "zip":
        zip_of(
            archive, ("./lib/", b""), (special("lib/so.1", stat.S_IFREG | 0o6755), b"so"), (special("lib/so", LINK), b"so.1"),
            ("top.py", b"x = 1"),
        )  # fmt: skip
    else:
        run, also = tar_entry("lib/so.1"), tar_entry("lib/also", tarfile.LNKTYPE, "lib/so.1")
        run.mode = also.mode = 0o6755
        tar_of(
            archive,
            (run, b"so"),
            (also, b""),
            (tar_entry("lib/so", tarfile.SYMTYPE, "so.1"), b""),
            (tar_entry("top.py"), b"x = 1"),
        )
    folder = tmp_path / "folder"
    folder.mkdir()

    files = unpack(str(archive), suffix_of(archive), str(folder))

    assert (folder / "lib/so").read_bytes() == b"so"
    assert (folder / "lib/so").is_symlink()
    assert stat.S_IMODE((folder / "lib/so.1").stat().st_mode) & 0o7711 == 0o711
    assert not (folder / "top.py").stat().st_mode & 0o111
    assert ("lib/also" in {file.name for file in files}) == (kind != "zip")
    assert {file.name: file.size for file in files}["top.py"] == 5


def test_a_folder_packs_to_the_same_bytes_wherever_and_whenever_it_is(tmp_path: Path) -> None:
    one, two = make_folder(tmp_path / "one"), make_folder(tmp_path / "elsewhere/two")
    (two / "__pycache__").mkdir()
    (two / "__pycache__/bundled_answer.cpython-311.pyc").write_bytes(b"other")
    os.utime(two / "bundled_answer.py", (1, 1))
    (one / "link").symlink_to("bundled_pkg")
    (two / "link").symlink_to("bundled_pkg")

    pack(str(one), str(tmp_path / "one.zip"))
    pack(str(two), str(tmp_path / "two.zip"))

    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    (tmp_path / "out").mkdir()
    unpack(str(tmp_path / "one.zip"), ".zip", str(tmp_path / "out"))
    assert (tmp_path / "out/link/tool.sh").read_text() == "#!/bin/sh\n"


@pytest.mark.parametrize("target", ["/etc", "../../.."])
def test_a_folder_with_a_link_out_is_not_packed(target: str, tmp_path: Path) -> None:
    (make_folder(tmp_path / "one") / "out").symlink_to(target)

    with pytest.raises(Invalid, match="leads out"):
        pack(str(tmp_path / "one"), str(tmp_path / "one.zip"))


def test_an_empty_folder_is_no_bundle(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()

    with pytest.raises(Invalid, match="no files"):
        pack(str(tmp_path / "one"), str(tmp_path / "one.zip"))


@given(st.one_of(st.text(), st.lists(st.sampled_from(["..", ".", "", "a", "é", "\\", "😀"])).map("/".join)))
def test_the_parts_of_any_name_lie_within_or_it_is_refused(name: str) -> None:
    try:
        parts = parts_of(name)
    except BadArchive:
        return
    path = os.path.normpath(os.path.join("/root/folder", *parts))
    assert path == "/root/folder" or path.startswith("/root/folder/")


@given(st.binary(max_size=300), st.integers(0, 400), st.sampled_from([".zip", ".tar", ".tar.gz"]))
def test_bytes_of_any_kind_are_unpacked_or_refused(noise: bytes, at: int, suffix: str) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        good = (
            tar_of(Path(folder) / f"a{suffix}", (tar_entry("x"), b"1"))
            if "tar" in suffix
            else zip_of(Path(folder) / "a.zip", ("x", b"1"))
        )
        body = good.read_bytes()
        good.write_bytes(body[:at] + noise + body[at + len(noise) :])
        try:
            unpack(str(good), suffix, None, size_limit_bytes=10_000)
        except BadArchive:
            return


def test_a_zip_that_says_less_than_it_holds_is_refused(tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "a.zip", ("x", bytes(5000)))
    body = bytearray(archive.read_bytes())
    at = body.index(b"PK\x01\x02") + 24
    body[at : at + 4] = (10).to_bytes(4, "little")
    archive.write_bytes(body)

    with pytest.raises(BadArchive, match="damaged"):
        unpack(str(archive), ".zip", None)


def test_zipfile_still_cuts_names_at_a_nul_and_that_is_refused(tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "a.zip", ("good.py#evil", b"1"), compress=False)
    archive.write_bytes(archive.read_bytes().replace(b"#", b"\0"))
    assert zipfile.ZipFile(archive).infolist()[0].filename == "good.py"

    with pytest.raises(BadArchive, match="NUL"):
        unpack(str(archive), ".zip", None)
