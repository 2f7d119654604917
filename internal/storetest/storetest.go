// Package storetest is the conformance suite of kapi's stores: what the Store interface promises, and
// what the engine promises on top of it.
//
// A store's own tests call [Run]. The cases use only the interface, and a failure says which promise
// the store broke.
package storetest

import (
	"context"
	"io"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/kettubot/kapi/internal/store"
	"github.com/kettubot/kapi/peer"
)

// deadline bounds every wait. It is generous, as no case measures how fast a store is.
const deadline = 20 * time.Second

// A Backend is the store to test.
type Backend struct {
	// New creates empty data and returns a function that opens one more handle on it. The suite
	// closes the handles; New must have t clean up the rest.
	New func(t testing.TB) (open func() store.Store)
	// Single is true for a store that has only one handle (in memory). Cases that need several then
	// share it, and cases about several handles are left out.
	Single bool
	// Bells is true for a store that is a store.Bell and can tell.
	Bells bool
}

type testCase struct {
	name string
	run  func(*testing.T, Backend)
	// several: the case is about more than one handle.
	several bool
	// bells: it is about a store.Bell.
	bells bool
}

// Run runs the suite.
func Run(t *testing.T, b Backend) {
	for _, c := range slices.Concat(storeCases(), definedCases(), engineCases()) {
		if c.several && b.Single || c.bells && !b.Bells {
			continue
		}
		t.Run(c.name, func(t *testing.T) { c.run(t, b) })
	}
}

// definedCases returns the cases about what stores keep for defined operations.
func definedCases() []testCase {
	return []testCase{
		{name: "store/saved", run: testSaved},
		{name: "store/saved of 256 KiB", run: testSavedBig},
		{name: "store/saved with a start", run: testSavedWithStart},
		{name: "store/saved moves", run: testMoves},
		{name: "store/saved is disposed of", run: testDisposed},
		{name: "store/saved and turns that were left", run: testLeft},
		{name: "store/turns", run: testTurns},
		{name: "store/offers", run: testOffers},
		{name: "store/purge forgets offers", run: testPurgeOffers},
	}
}

// storeCases returns the cases about the promises of the Store interface.
func storeCases() []testCase {
	return []testCase{
		{name: "store/empty", run: testEmpty},
		{name: "store/round trip of every field", run: testRoundTrip},
		{name: "store/update of every field", run: testUpdate},
		{name: "store/large batches", run: testLarge},
		{name: "store/feed since any seq", run: testFeed},
		{name: "store/what Commit loads", run: testLoaded},
		{name: "store/what a light Commit loads", run: testLight},
		{name: "store/decide fails", run: testDecideFails},
		{name: "store/nothing to write", run: testNothingToWrite},
		{name: "store/key taken", run: testKeyTaken},
		{name: "store/id taken", run: testIDTaken},
		{name: "store/key freed and claimed in one batch", run: testFreeAndClaim},
		{name: "store/commits are serialised", run: testSerialised},
		{name: "store/readers beside writers", run: testReadersBesideWriters},
		{name: "store/renew", run: testRenew},
		{name: "store/renew the recorded work", run: testRenewsWork},
		{name: "store/renew the process's own runner", run: testRenewOwn},
		{name: "store/renew what is recorded of its own work", run: testRenewsOwnWork},
		{name: "store/own runner", run: testOwnRunner},
		{name: "store/observations", run: testObservations},
		{name: "store/asked", run: testAsked},
		{name: "store/runner in a commit", run: testRunnerInCommit},
		{name: "store/answers", run: testAnswers},
		{name: "store/secret", run: testSecret},
		{name: "store/tokens", run: testTokens},
		{name: "store/tokens outlive their handle", run: testTokensReopen, several: true},
		{name: "store/ids of tokens", run: testTokenIDs},
		{name: "store/sessions", run: testSessions},
		{name: "store/tokens authenticate", run: testTokensAuthenticate},
		{name: "store/purge", run: testPurge},
		{name: "store/purge among many", run: testPurgeAmongMany},
		{name: "store/purge forgets runners", run: testPurgeForgetsRunners},
		{name: "store/purge of tombstones from the future", run: testPurgeFuture},
		{name: "store/listen", run: testListen},
		{name: "store/bells", run: testBell, bells: true},
		{name: "store/context ends", run: testContextEnds},
		{name: "store/context ends at the lock", run: testContextEndsAtLock},
		{name: "store/reading while another writes", run: testReadDuringWrite, several: true},
		{name: "store/reopen", run: testReopen, several: true},
	}
}

// engineCases returns the cases about what the engine promises on top of a store.
func engineCases() []testCase {
	return []testCase{
		{name: "engine/once", run: testOnce},
		{name: "engine/all keys or none", run: testAllOrNone},
		{name: "engine/read your writes at every peer", run: testReadYourWrites},
		{name: "engine/all watchers see the same", run: testWatchers},
		{name: "engine/failed holders", run: testFailedHolders},
		{name: "engine/cancel from another peer", run: testCancelElsewhere},
		{name: "engine/dismiss from another peer", run: testDismissElsewhere},
		{name: "engine/malformed ids", run: testIDsThatAreNone},
		{name: "engine/queue", run: testQueue},
		{name: "engine/leaving the queue", run: testLeaveQueue},
		{name: "engine/the queue in order", run: testQueueInOrder},
		{name: "engine/close fails what does not stop", run: testCloseFails, several: true},
		{name: "engine/operations", run: testOperations},
		{name: "engine/model", run: testModel},
	}
}

// A tb has what the helpers need of *testing.T and *rapid.T.
type tb interface {
	Helper()
	Cleanup(f func())
	Error(args ...any)
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// handles opens n handles on new data, and closes them when t ends. For a Single backend it returns its
// one handle n times.
func (b Backend) handles(t testing.TB, n int) []store.Store {
	t.Helper()
	open := b.New(t)
	all := make([]store.Store, n)
	for i := range all {
		if i > 0 && b.Single {
			all[i] = all[0]
			continue
		}
		s := open()
		all[i] = s
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Errorf("Close of a handle: %v", err)
			}
		})
	}
	return all
}

// peers opens n peers on new data, and closes them when t ends. For a Single backend it returns its one
// peer n times.
func (b Backend) peers(t testing.TB, n int) []*peer.Peer {
	t.Helper()
	open := b.New(t)
	all := make([]*peer.Peer, n)
	for i := range all {
		if i > 0 && b.Single {
			all[i] = all[0]
			continue
		}
		all[i] = openPeer(t, open())
		if i%2 == 1 { // the others are light peers until they are asked for more than their own
			follow(t, all[i])
		}
	}
	return all
}

// follow makes a full peer.
func follow(t tb, p *peer.Peer) {
	t.Helper()
	if err := p.Follow(within(t)); err != nil {
		t.Fatalf("Follow: %v", err)
	}
}

func openPeer(t tb, s store.Store) *peer.Peer {
	t.Helper()
	p, err := peer.Open(within(t), s, peer.Options{
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), Grace: deadline, StoreTimeout: deadline,
	})
	if err != nil {
		t.Fatalf("peer.Open: %v", err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Errorf("Close of a peer: %v", err)
		}
	})
	return p
}

// within returns a context that ends at the deadline.
func within(t tb) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	t.Cleanup(cancel)
	return ctx
}

// receive waits for a value from c, and fails the test at the deadline.
func receive[T any](t tb, c <-chan T, what string) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(deadline):
		t.Fatalf("waited %v for %s", deadline, what)
	}
	return v
}
