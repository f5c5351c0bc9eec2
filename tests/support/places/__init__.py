"""All places of the site, by name: `PLACES`."""

from tests.support.places import signed_in, signing_in
from tests.support.places.world import LONG, PLACES, World

__all__ = ["LONG", "PLACES", "World", "signed_in", "signing_in"]
