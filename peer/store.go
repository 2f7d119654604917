package peer

import "github.com/kettubot/kapi/internal/store"

// A Store is what sqlite.Open, sqlite.OpenMemory and postgres.Open return, to be passed to Open.
type Store = store.Store
