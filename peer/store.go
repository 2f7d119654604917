package peer

import "github.com/kettubot/kapi/internal/store"

// A Store is passed to Open. The results of sqlite.Open, sqlite.OpenMemory and postgres.Open are stores.
type Store = store.Store
