import pytest

from training import endurance
from training.runs import Run


def test_runs_killed_at_random_moments_lose_nothing():
    assert endurance.endurance(kills=3, seed=1).startswith("3 kills (")


def test_what_is_lost_is_noticed(tmp_path):
    recipe = endurance.small_recipe(tmp_path / "pictures")
    folder = endurance.begun(tmp_path / "run", recipe)
    assert endurance.look(folder, 1) == "before the first save"
    Run(folder).state_file.write_bytes(b"half a file")
    with pytest.raises(endurance.Lost, match="Kill 2"):
        endurance.look(folder, 2)
    with pytest.raises(endurance.Lost, match="exit code -9"):
        endurance.compare(-9, folder, folder)
