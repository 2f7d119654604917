package postgres

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/storetest"
)

// Each case has a schema of its own in one database: making those is quicker than databases, and
// shows that they are kept apart.
func TestStore(t *testing.T) {
	dsn := server.DSN(server.Database(t))
	var schemas atomic.Int64
	storetest.Run(t, storetest.Backend{New: func(t testing.TB) func() kapi.Store {
		o := Options{Schema: fmt.Sprintf("Case %d", schemas.Add(1))}
		return func() kapi.Store { return openAt(t, dsn, o) }
	}})
}
