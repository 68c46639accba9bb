"""A new site file in place of the one in force, killed at every moment: the old one or the new, and one outcome.

T23 of the scoreboard kills before every statement; here before every touch of the disk.
"""

from __future__ import annotations

import pytest

from agent import update
from tests.tools.orders import BAD, ID, NEW, OLD, begin, updates


def test_killed_at_any_moment_the_old_file_or_the_new_one_is_in_force_and_the_outcome_says_which(memory):
    ends = updates(memory / "site")
    assert ends == {NEW: {(OLD, "failed"), (NEW, "successful")}, BAD: {(OLD, "failed")}}


def test_a_file_that_somebody_changed_by_hand_is_not_touched(tmp_path):
    site = begin(tmp_path / "site", NEW) / "site.toml"
    digest = update.digest(site)
    update.offer(site, NEW.encode())
    site.write_text("# by hand\n")
    with pytest.raises(ValueError, match="was changed on this machine"):
        update.switch(site, digest, ID, "")
    assert site.read_text() == "# by hand\n"
    site.write_text(OLD)
    update.switch(site, digest, ID, "")
    site.write_text("# by hand\n")  # between the switch and the start
    trial = update.begin(site)
    assert trial is not None
    assert (trial.phase, site.read_text()) == ("failed", "# by hand\n")
    assert update.last_of(site).read_text() == OLD


def test_the_new_file_has_the_rights_of_the_old_one(tmp_path):
    site = begin(tmp_path / "site", NEW) / "site.toml"
    site.chmod(0o640)
    update.offer(site, NEW.encode())
    update.switch(site, update.digest(site), ID, "")
    assert site.stat().st_mode & 0o777 == 0o640
    trial = update.begin(site)
    assert trial is not None
    update.back(site, trial, "no")
    assert (site.stat().st_mode & 0o777, site.read_text()) == (0o640, OLD)
