"""The inference engine: prefixes read once, packs without padding, slots. docs/architecture.md walks through it."""
