package sqlite

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/rules"
	"github.com/kettubot/kapi/internal/store"
)

// An answer is kept while its action is ongoing, and for 24 hours more.
func TestAnswersAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := OpenMemory()
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		r := store.Record{Action: kapi.Action{ID: "a", Title: "t", Status: kapi.StatusRunning, Seq: 1}, Fence: 1}
		request := store.Request{By: "ada", Key: "x"}
		seq := uint64(0)
		write := func(w store.Writes) (l store.Loaded) {
			t.Helper()
			err := s.Commit(t.Context(), store.Batch{Since: seq, Requests: []store.Request{request}}, func(loaded store.Loaded) (store.Writes, error) {
				l = loaded
				seq = max(loaded.Seq, w.Head)
				return w, nil
			})
			if err != nil {
				t.Fatal(err)
			}
			return l
		}
		// pass lets time pass with a purge every minute, as peers do.
		pass := func(d time.Duration) {
			t.Helper()
			for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(time.Minute) {
				if _, err := s.Purge(t.Context(), rules.Retention(time.Now().UnixMilli(), 100)); err != nil {
					t.Fatal(err)
				}
			}
		}
		write(store.Writes{Head: 1, Insert: []store.Record{r}, Answers: []store.Answer{{Request: request, Action: "a", Hash: []byte("h"), Body: []byte("b")}}})
		pass(72 * time.Hour)
		if len(write(store.Writes{}).Answers) != 1 {
			t.Fatal("the answer was deleted while its action is ongoing")
		}
		r.Status, r.Seq, r.UpdatedAt = kapi.StatusCompleted, 2, time.Now().UnixMilli()
		write(store.Writes{Head: 2, Update: []store.Record{r}})
		pass(24 * time.Hour)
		if len(write(store.Writes{}).Answers) != 1 {
			t.Fatal("the answer was deleted within 24 hours of its action's end")
		}
		pass(2 * time.Hour)
		if len(write(store.Writes{}).Answers) != 0 {
			t.Fatal("the answer was kept for too long")
		}
	})
}
