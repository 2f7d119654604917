package sqlite

import (
	"os"
	"testing"
)

// A write frees the store's turn, but not the keeper's lock, which is on the same file.
func TestKeeperWrites(t *testing.T) {
	path := newPath(t)
	keeper, other := openFor(t, path), openFor(t, path)
	if !keeper.Keep("n") || other.Keep("n") {
		t.Fatal("the first store to ask is not the only keeper")
	}
	mustInsert(t, keeper, "a")
	if other.Keep("n") {
		t.Error("after the keeper has written, there is another keeper")
	}
}

// A process that stops itself is no longer the keeper.
func TestKeeperStopsItself(t *testing.T) {
	path := newPath(t)
	keeper, other := openFor(t, path), openFor(t, path)
	if !keeper.Keep("n") || other.Keep("n") {
		t.Fatal("the first store to ask is not the only keeper")
	}
	keeper.Quiesce(func() {
		if !other.Keep("n") {
			t.Error("nobody is the keeper")
		}
	})
	if keeper.Keep("n") {
		t.Error("there are two keepers")
	}
}

// If the wake file was removed, the peers that had it open and those that open the store afterwards still
// have one keeper.
func TestKeeperWithoutWakeFile(t *testing.T) {
	path := newPath(t)
	keeper, other := openFor(t, path), openFor(t, path)
	if !keeper.Keep("n") || other.Keep("n") {
		t.Fatal("the first store to ask is not the only keeper")
	}
	if err := os.Remove(path + wakeName); err != nil {
		t.Fatal(err)
	}
	late := openFor(t, path)
	if !late.Keep("n") {
		t.Error("with a new wake file, the first store to ask is not the keeper")
	}
	if keeper.Keep("n") || other.Keep("n") {
		t.Error("the stores with the removed wake file have a keeper of their own")
	}
}
