package sqlite

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRootMakesAStore: a store that root creates in a user's folder belongs to that user, so they can open it.
// A store that belongs to root is refused there, because the user could make root write to other files.
func TestRootMakesAStore(t *testing.T) {
	asRoot(t)
	path := strangersStore(t, 0o600)
	must(t, errors.Join(os.Remove(path), os.Remove(path+wakeName)))
	s := openAt(t, path)
	mustInsert(t, s, "a")
	mustRun(t, s, "r")
	for _, end := range []string{"", "-wal", "-shm", wakeName, runnersName} {
		if now, err := factsOf(path + end); err != nil || now.uid != 60001 || now.gid != 60001 || now.mode != 0o600 {
			t.Errorf("PATH%s belongs to %d:%d, with mode %o (error: %v)", end, now.uid, now.gid, now.mode, err)
		}
	}
	closeStore(t, s)
	theirs := startChildAs(t, "keep", path, 60001, 60001, 60001)
	theirs.expect("open")
	theirs.end()

	must(t, os.Chown(path, 0, 0))
	wantOpenRefused(t, path, "it is root's, in a folder of user 60001")
	wantOpenRefused(t, path, "chown -h 60001 '"+path+"'")
	must(t, os.Chown(path, 60001, 60001))
	wantIDs(t, openFor(t, path), "a")
}

// TestRootLearnsWhoseRights: if root is refused because it uses the owner's rights, the error says so.
func TestRootLearnsWhoseRights(t *testing.T) {
	asRoot(t)
	path := strangersStore(t, 0o600)
	above := filepath.Join(t.TempDir(), "roots")
	must(t, os.Mkdir(above, 0o700))
	moved := filepath.Join(above, "folder", filepath.Base(path))
	rename(t, filepath.Dir(path), filepath.Dir(moved))
	wantOpenRefused(t, moved, "permission denied (for user 60001: root opens it with this user's rights, because others may write to its folder)")
}

// TestNoRightsAtALink: if a folder has become a link, root doesn't open the link's target with its own rights.
func TestNoRightsAtALink(t *testing.T) {
	asRoot(t)
	theirs, roots := strangersStore(t, 0o600, "a"), filepath.Join(t.TempDir(), "kapi.db")
	makeStore(t, roots, "b")
	folder := filepath.Dir(theirs)
	t.Cleanup(func() { _ = os.RemoveAll(folder + ".away") })
	if r, err := rightsFor(theirs); err != nil || r != (rights{true, 60001, 60001}) {
		t.Errorf("rights %v, error: %v", r, err)
	}
	s := openFor(t, theirs)
	rename(t, folder, folder+".away")
	must(t, os.Symlink(filepath.Dir(roots), folder))
	if r, err := rightsFor(theirs); err == nil || !strings.Contains(err.Error(), "has become a symbolic link") {
		t.Errorf("rights %v, error: %v", r, err)
	}
	if now := s.now(); now.rights.uid != 60001 {
		t.Errorf("it is closed with the rights %v", now.rights)
	}
	must(t, os.Remove(folder))
	rename(t, folder+".away", folder)
}

// TestAccessAsOwner: access is checked with the rights that were taken.
func TestAccessAsOwner(t *testing.T) {
	asRoot(t)
	path := newPath(t)
	writeFile(t, path, nil)
	must(t, os.Chmod(path, 0o600))
	if err := checkAccess(path); err != nil {
		t.Error(err)
	}
	_ = rights{true, 60001, 60001}.do(func() error {
		if checkAccess(path) == nil || checkFolder(filepath.Dir(path)) == nil {
			t.Error("root's file and folder may be written to by another")
		}
		return nil
	})
}
