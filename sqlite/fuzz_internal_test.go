package sqlite

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/kettubot/kapi/internal/kapitest"
	"github.com/kettubot/kapi/internal/rules"
	"github.com/kettubot/kapi/internal/store"
)

// flip is the number of input bytes for each change: an offset in the store, and what to xor there.
const flip = 4

// flips returns the input that xors the byte at each offset with 0xff.
func flips(offsets ...int) (encoded []byte) {
	for _, at := range offsets {
		encoded = append(binary.BigEndian.AppendUint16(encoded, uint16(at>>8)), byte(at), 0xff)
	}
	return encoded
}

// FuzzStore opens a store in which bytes were changed, and uses it. Each call must succeed or return a proper
// error.
func FuzzStore(f *testing.F) {
	path := newPath(f)
	s := openFor(f, path)
	for _, id := range []string{"a", "b", "c"} {
		mustInsert(f, s, id)
	}
	if err := s.AddToken(kapitest.Within(f), token("t", 1)); err != nil {
		f.Fatal(err)
	}
	if err := s.Renew(kapitest.Within(f), store.RunnerRecord{ID: "r", Lease: time.Second}); err != nil {
		f.Fatal(err)
	}
	if err := s.Offer(kapitest.Within(f), "r", []store.OfferRecord{{Name: "o", About: []byte("{}")}}); err != nil {
		f.Fatal(err)
	}
	if err := save(kapitest.Within(f), s, []byte("1"), nil); err != nil {
		f.Fatal(err)
	}
	closeStore(f, s)
	valid := readFile(f, path)

	f.Add(flips())
	for _, at := range []int{0, 16, 18, 19, 20, 21, 24, 28, 32, 36, 40, 44, 47, 48, 52, 56, 60, 63, 68, 71, 92, 96} {
		f.Add(flips(at)) // the fields of the file's head
	}
	for page := range len(valid) / 4096 {
		start := page * 4096
		if page == 0 {
			start = 100
		}
		f.Add(flips(start))                      // the page's kind
		f.Add(flips(start+3, start+4))           // how many cells it has
		f.Add(flips(start+8, start+9))           // where its cells begin
		f.Add(flips(page*4096 + 4095))           // the first cell's end
		f.Add(flips(page*4096+4000, start+1000)) // some cell, and free space
	}
	f.Fuzz(func(t *testing.T, changes []byte) {
		data := append([]byte(nil), valid...)
		for ; len(changes) >= flip; changes = changes[flip:] {
			at := int(binary.BigEndian.Uint16(changes))<<8 | int(changes[2])
			data[at%len(data)] ^= changes[3]
		}
		path := newPath(t)
		writeFile(t, path, data)
		s, err := Open(path)
		if err != nil {
			if !isUnavailable(err) {
				t.Errorf("the error doesn't wrap kapi.ErrUnavailable: %v", err)
			}
			return
		}
		for range 2 {
			_, _ = s.Snapshot(kapitest.Within(t))
			_, _ = s.Feed(kapitest.Within(t), 0)
			_, _ = s.Runners(kapitest.Within(t), []string{"r"})
			_, _ = s.Tokens(kapitest.Within(t))
			_, _ = s.Saved(kapitest.Within(t), "a")
			_, _ = s.Offers(kapitest.Within(t))
			_, _ = insert(kapitest.Within(t), s, "next")
			_ = save(kapitest.Within(t), s, []byte("2"), nil)
			_ = s.Renew(kapitest.Within(t), store.RunnerRecord{ID: "r"})
			_, _ = s.Purge(kapitest.Within(t), rules.Retention(time.Now().UnixMilli(), 10))
		}
		closeStore(t, s)
	})
}
