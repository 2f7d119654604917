package postgres

import (
	"fmt"
	"os"
	"sync/atomic"
	"testing"

	"github.com/kettubot/kapi/internal/store"
	"github.com/kettubot/kapi/internal/storetest"
)

// Each case has its own schema in one database. That is faster than a database for each, and shows that
// schemas are independent.
func TestStore(t *testing.T) {
	conforms(t, server.DSN(server.Database(t)))
}

// TestUnprepared is the same without prepared statements, which some poolers don't support.
func TestUnprepared(t *testing.T) {
	if os.Getenv("KAPI_SOAK") == "" {
		s := openFor(t, server.DSN(server.Database(t))+"&default_query_exec_mode=exec")
		for i := range 3 {
			mustInsert(t, s, fmt.Sprint(i))
		}
		wantIDs(t, s, "0", "1", "2")
		return
	}
	for _, mode := range []string{"exec", "simple_protocol", "cache_describe"} {
		t.Run(mode, func(t *testing.T) { conforms(t, server.DSN(server.Database(t))+"&default_query_exec_mode="+mode) })
	}
}

func conforms(t *testing.T, dsn string) {
	var schemas atomic.Int64
	storetest.Run(t, storetest.Backend{New: func(t testing.TB) func() store.Store {
		o := Options{Schema: fmt.Sprintf("Case %d", schemas.Add(1))}
		return func() store.Store { return openAt(t, dsn, o) }
	}})
}
