"""gpu-diversion: an open for use counts, refused or in vain; looking does not, nor does what the scope grants."""

from __future__ import annotations

import pytest

from remit.testing import Playbook


def in_step(scope: dict[str, object] | None = None) -> Playbook:
    return Playbook(scope=scope).step("call_1", "bash").spawn("/usr/bin/python3", "a.py", step="call_1")


def test_a_refused_open() -> None:
    in_step().open_gpu(refused=True).expect("gpu-diversion", state="attempted", step="call_1", clause="devices.gpu")


def test_an_absent_node_counts_when_opened_for_use() -> None:
    in_step({"devices": {"gpu": "none"}}).open_gpu(errno=2, absent=True).expect("gpu-diversion", state="attempted")


def test_an_open_that_works_is_graver() -> None:
    in_step().open_gpu("/dev/dri/renderD128").expect("gpu-diversion", state="succeeded", severity="high")


def test_several_nodes_are_one_finding_until_one_works() -> None:
    book = in_step()
    for node in range(8):
        book.open_gpu(f"/dev/nvidia{node}", refused=True)
    assert len(book.messages) == 2  # one finding, one verdict
    book.open_gpu("/dev/nvidia8").expect("gpu-diversion", state="succeeded")


@pytest.mark.parametrize("forks", [1, 2])
def test_children_and_renamed_programs_are_charged_to_the_step(forks: int) -> None:
    book = in_step()
    for _ in range(forks):
        book.fork()
    book.exec("/work/notes.txt").open_gpu(refused=True).expect("gpu-diversion", attribution="proven", step="call_1")


def test_another_step_is_another_finding() -> None:
    book = in_step().open_gpu(refused=True).end_step("call_1").step("call_2").spawn("/usr/bin/python3", step="call_2")
    book.open_gpu(refused=True)
    assert [finding["step"] for finding in book.findings] == ["call_1", "call_2"]


def test_benign_twins() -> None:
    in_step({"devices": {"gpu": "all"}}).open_gpu().expect_nothing()
    in_step().open_gpu(flags=0, refused=True).expect_nothing()  # a library that only looks
    in_step().open("/dev/null", **{"class": "other"}).open("/work/nvidiactl").expect_nothing()
