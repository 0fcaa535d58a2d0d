"""What holds for every test: slow ones are asked for, and nothing outside loopback is reached for."""

from __future__ import annotations

import os

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: two workers on two cores, and the same sums everywhere


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.environ.get("AAR_SLOW") == "1":
        return
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.skip(reason="minutes long; AAR_SLOW=1 runs it"))
