"""How contact data looks to those who may not read it."""

import pytest

from control_plane.core import masking
from control_plane.core.field_rights import Mask


@pytest.mark.parametrize(
    ("mask", "value", "masked"),
    [
        (masking.person, "张三", "张*"),
        (masking.person, "John Smith", "J*"),
        (masking.person, "张", "*"),
        (masking.email, "zhang@example.com", "z***@example.com"),
        (masking.email, "z@example.com", "***@example.com"),
        (masking.email, '"a@b"@example.com', '"***@example.com'),
        (masking.phone, "13800131234", "138****1234"),
        (masking.phone, "+8613800131234", "+86****1234"),
        (masking.phone, "6651234", "****34"),
        (masking.phone, "110", "****"),
    ],
)
def test_a_mask_hints_and_does_not_tell(mask: Mask, value: str, masked: str) -> None:
    assert mask(value) == masked
