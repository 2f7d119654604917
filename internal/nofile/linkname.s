// This file allows functions without a body, which go:linkname finds elsewhere.
