"""State: one URL, put-if-absent keys, content-addressed objects."""

from holdfast.store.content import canonical_json, digest, digest_file, known_fields
from holdfast.store.objects import Store, masked, object_key, open_store

__all__ = ["Store", "canonical_json", "digest", "digest_file", "known_fields", "masked", "object_key", "open_store"]
