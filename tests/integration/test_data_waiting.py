"""The share of training that goes by without a batch: counted and logged."""
import re
import time
from pathlib import Path

import pytest
from basicsr.utils.registry import DATASET_REGISTRY
from linear_training import StandInData, run_here, write_options

from gavn.basicsr_patches.utils_logger import DataWaitTimer, Percent


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@DATASET_REGISTRY.register()
class SlowData(StandInData):
    """Takes its time."""

    def __getitem__(self, index: int) -> dict:
        time.sleep(0.03)
        return super().__getitem__(index)


def wait(timer: DataWaitTimer, clock: Clock, seconds: float, **how: object) -> None:
    with timer.measure(**how):
        clock.now += seconds


def test_the_share_is_of_the_time_since_the_first_wait() -> None:
    clock = Clock()
    timer = DataWaitTimer(clock)
    assert timer.percent() == 0
    clock.now += 50  # before training
    for seconds in (1.0, 2.0):
        wait(timer, clock, seconds)
        clock.now += 3.5  # the step
    assert timer.percent() == pytest.approx(30)
    clock.now += 1000  # validation
    wait(timer, clock, 1.0)
    clock.now += 1
    assert timer.percent() == pytest.approx(50)


def test_a_device_that_still_works_does_not_wait() -> None:
    clock = Clock()
    timer = DataWaitTimer(clock)
    wait(timer, clock, 3.0, is_busy=lambda: clock.now < 200)  # asked at the end
    wait(timer, clock, 1.0, is_busy=lambda: False)
    assert timer.percent() == pytest.approx(25)


def test_a_share_is_written_in_percent_and_stays_a_number() -> None:
    assert f'{Percent(0.42):.4e}' == '0.4 %' and Percent(0.42) + 1 == pytest.approx(1.42)


@pytest.mark.parametrize('mode', [None, 'cpu'])
def test_the_log_shows_waiting_for_a_slow_loader(tmp_path: Path, mode: str | None) -> None:
    run_here('train', '-opt', str(write_options(
        tmp_path, train__total_iter=6, logger__print_freq=3, datasets__train__type='SlowData',
        datasets__train__prefetch_mode=mode)))
    log = next(tmp_path.rglob('train_*.log')).read_text()
    shares = [float(share) for share in re.findall(r'l_pix: \S+ .*?wait: (\d+\.\d) %', log)]
    assert len(shares) == 2 and min(shares) > 50, log
