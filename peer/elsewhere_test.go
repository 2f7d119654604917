package peer_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
	"github.com/kettubot/kapi/operation"
	"github.com/kettubot/kapi/peer"
)

// notStarted fails the test unless a start is refused with want, and nothing is recorded.
func (s *site) notStarted(k *peer.Peer, name string, want error) {
	s.Helper()
	if _, err := k.StartOperation(s.Context(), name, nil, kapi.StartOptions{}); err == nil || err.Error() != want.Error() {
		s.Errorf("start of %q: %v, want %v", name, err, want)
	}
	if head := s.head(); head.Seq != 0 {
		s.Errorf("%d changes were recorded", head.Seq)
	}
}

func (s *site) head() store.Head {
	s.Helper()
	found, err := s.store.Snapshot(s.Context())
	if err != nil {
		s.Fatal(err)
	}
	return found.Head
}

// An operation that was offered stays known, but nothing is recorded if nobody offers it.
func TestUnknownAndNotOffered(t *testing.T) {
	onSite(t, func(s *site) {
		k := s.full()
		s.notStarted(k, "move", &kapi.UnknownOperationError{Name: "move"})
		offering := s.light(move(operation.Of[moveArgs]{}), kapi.Definition{Name: "clean", Title: "t", Run: move(operation.Of[moveArgs]{}).Run})
		s.notStarted(k, "mov", &kapi.UnknownOperationError{Name: "mov", Known: []string{"clean", "move"}})
		s.notStarted(k, "", &kapi.UnknownOperationError{Name: "", Known: []string{"clean", "move"}})
		if err := offering.Close(); err != nil {
			s.Error(err)
		}
		s.notStarted(k, "move", &kapi.NotOfferedError{Operation: "move"})
		s.notStarted(k, "mov", &kapi.UnknownOperationError{Name: "mov", Known: []string{"clean", "move"}})
	})
}

// A peer that is gone without a word offers nothing two leases later.
func TestOffersEndWithTheLease(t *testing.T) {
	onSite(t, func(s *site) {
		k := s.light()
		about := []byte(`{"name":"move","title":"Moving","description":""}`)
		r := store.RunnerRecord{ID: "gone", Host: "elsewhere", Lease: time.Minute}
		if err := errors.Join(s.store.Renew(s.Context(), r), s.store.Offer(s.Context(), "gone", []store.OfferRecord{{Name: "move", About: about}})); err != nil {
			s.Fatal(err)
		}
		offered := func() bool {
			offers, err := k.Offers(s.Context())
			if err != nil || len(offers) != 1 || offers[0].Name != "move" {
				s.Fatalf("%+v, %v", offers, err)
			}
			return offers[0].Offered
		}
		time.Sleep(119 * time.Second)
		if !offered() {
			s.Error("within two leases it is not offered")
		}
		time.Sleep(2 * time.Second)
		if offered() {
			s.Error("after two leases it is still offered")
		}
	})
}

func TestOffers(t *testing.T) {
	onSite(t, func(s *site) {
		d := move(operation.Of[moveArgs]{Description: "It moves.", Limit: 3, Resume: &kapi.Resume{}})
		want := kapi.Offer{Name: "move", Title: "Moving", Description: "It moves.", Schema: d.Schema, Resumable: true, Limit: 3, Offered: true}
		plain := kapi.Definition{Name: "clean", Title: "Cleaning", Run: d.Run}
		k, other := s.light(), s.light(d)
		s.light(plain)
		for _, k := range []*peer.Peer{k, other} {
			offers, err := k.Offers(s.Context())
			if err != nil || len(offers) != 2 || offers[0].Name != "clean" || offers[0].Schema != nil || !equalJSON(offers[1], want) {
				s.Errorf("%+v, %v; want %+v", offers, err, want)
			}
		}
		// While another version of it is offered, too, each peer starts what it knows.
		newer := d
		newer.Title = "Moving faster"
		s.light(newer)
		if offers, err := k.Offers(s.Context()); err != nil || len(offers) != 2 || offers[1].Title != newer.Title {
			s.Errorf("%+v, %v", offers, err)
		}
		if offers, err := other.Offers(s.Context()); err != nil || offers[1].Title != d.Title {
			s.Errorf("%+v, %v", offers, err)
		}
	})
}

func equalJSON(a, b any) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && string(x) == string(y)
}

// Whatever another program has written about an operation, it is no operation unless it can be one.
func TestHostileOffers(t *testing.T) {
	onSite(t, func(s *site) {
		k := s.light()
		var offers []store.OfferRecord
		for name, about := range map[string]string{
			"a": `{`, "b": `{"name":"c","title":"t"}`, "B": `{"name":"B","title":"t"}`, "d": `{"name":"d","title":""}`,
			"e": `{"name":"e","title":"é\u0000` + string(slices.Repeat([]byte("x"), 300)) + `"}`,
		} {
			offers = append(offers, store.OfferRecord{Name: name, About: []byte(about)})
		}
		if err := errors.Join(s.store.Renew(s.Context(), store.RunnerRecord{ID: "r"}), s.store.Offer(s.Context(), "r", offers)); err != nil {
			s.Fatal(err)
		}
		all, err := k.Offers(s.Context())
		if err != nil || len(all) != 1 || all[0].Name != "e" || len([]rune(all[0].Title)) != 200 {
			s.Errorf("%+v, %v", all, err)
		}
	})
}

// A start that nobody claims within StoreTimeout is returned as pending. It can be cancelled, and just ends.
func TestUnclaimedStart(t *testing.T) {
	onSite(t, func(s *site) {
		d := move(operation.Of[moveArgs]{})
		offering := s.light(d)
		for name, k := range map[string]*peer.Peer{"full": s.full(), "light": s.light()} {
			s.store.failing(context.DeadlineExceeded, "Saved") // so that the offering peer can't claim it
			began := time.Now()
			a := s.begin(k, `{"from":"a"}`, kapi.StartOptions{By: "ann"})
			if time.Since(began) != 5*time.Second || a.Status != kapi.StatusPending || a.State != "waits for a peer that offers move" ||
				a.WaitsFor == nil || a.WaitsFor.Operation != "move" || a.Runner != nil {
				s.Errorf("%s: after %v %+v", name, time.Since(began), a)
			}
			if name == "full" { // the operation is no longer offered anywhere, and known only to the action
				if err := offering.Close(); err != nil {
					s.Error(err)
				}
			}
			ended, err := k.Cancel(s.Context(), a.ID, "bob")
			if err != nil || ended.Status != kapi.StatusAborted || ended.State != "cancelled by bob" {
				s.Errorf("%s: cancelled %+v, %v", name, ended, err)
			}
			s.none()
			s.store.healed()
			offering = s.light(d)
		}
	})
}

// The failed action of an operation that nobody offers any more can be dismissed.
func TestDismissWhatIsNoLongerOffered(t *testing.T) {
	onSite(t, func(s *site) {
		var saw runsSaw
		offering, k := s.full(failsOnce(&saw)), s.full()
		a := s.begin(offering, `{"from":"a","held":"lock"}`, kapi.StartOptions{})
		time.Sleep(time.Second)
		if err := offering.Close(); err != nil {
			s.Error(err)
		}
		if _, err := k.Dismiss(s.Context(), a.ID, "ann"); err != nil {
			s.Error(err)
		}
		s.none()
		if saved, err := s.store.Saved(s.Context(), a.ID); err != nil || len(saved) != 0 {
			s.Errorf("%v, %v", saved, err)
		}
	})
}

// A start that was left unclaimed is claimed by a peer that is opened later.
func TestClaimedLater(t *testing.T) {
	onSite(t, func(s *site) {
		d := move(operation.Of[moveArgs]{})
		first, k := s.light(d), s.light()
		s.store.failing(context.DeadlineExceeded, "Saved")
		a := s.begin(k, `{"from":"a"}`, kapi.StartOptions{})
		if err := first.Close(); err != nil {
			s.Error(err)
		}
		s.store.healed()
		s.light(d)
		time.Sleep(time.Second)
		if all := s.records(); len(all) != 1 || all[0].ID != a.ID || all[0].Status != kapi.StatusRunning {
			s.Errorf("%+v", all)
		}
	})
}
