"""All places of the site, by name: `PLACES`."""

from tests.support.places import keys, signed_in, signing_in
from tests.support.places.world import LONG, PLACES, World

__all__ = ["LONG", "PLACES", "World", "keys", "signed_in", "signing_in"]
