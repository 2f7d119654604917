package auth

import (
	"crypto/sha256"
	"encoding/binary"
	"testing"
	"time"
)

func TestCacheIsBounded(t *testing.T) {
	a := NewAuthenticator(nil)
	until := time.Now().Add(time.Hour)
	for i := range uint64(10 * maxCache) {
		hash := sha256.Sum256(binary.LittleEndian.AppendUint64(nil, i))
		a.remember(hash, cached{until: until}, 0)
		if len(a.cache) > maxCache {
			t.Fatalf("%d entries", len(a.cache))
		}
		if _, fresh, _ := a.recall(hash, time.Now()); !fresh {
			t.Fatalf("entry %d was not kept", i)
		}
	}
}
