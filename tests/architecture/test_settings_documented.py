"""`config/defaults.yaml` is the reference: it names and explains every setting."""

import dataclasses
import re

import yaml

from control_plane.core.root import project_root
from control_plane.core.settings import SECTIONS, load_settings

DEFAULTS = project_root() / "config" / "defaults.yaml"


def test_the_file_and_the_code_name_the_same_settings_in_the_same_order() -> None:
    documented = {name: list(keys) for name, keys in yaml.safe_load(DEFAULTS.read_text()).items()}
    coded = {
        name: [field.name for field in dataclasses.fields(kind)] for name, kind in SECTIONS.items()
    }
    assert documented == coded
    assert list(documented) == list(coded)


def test_every_setting_has_a_comment() -> None:
    lines = DEFAULTS.read_text().splitlines()
    bare, commented = [], False
    for line in lines:
        if re.match(r"  #", line):
            commented = True
        elif re.match(r"  \w+:", line):
            if not commented:
                bare.append(line.strip())
        else:
            commented = False
    assert not bare


def test_the_defaults_load() -> None:
    assert load_settings(environ={}).gateway.port == 8080
