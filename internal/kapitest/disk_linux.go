package kapitest

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A Disk is a small file system that a test can fill.
type Disk struct {
	Folder string // where it is mounted

	t      *testing.T
	filler string
}

// NewDisk mounts an empty tmpfs with the given mount options, such as "size=1m", and unmounts it when t
// ends. Everybody may write to its folder unless the options say otherwise. The test needs mounts of
// its own; see [WithMounts].
func NewDisk(t *testing.T, options string) *Disk {
	t.Helper()
	// t.TempDir can't be entered by a server that runs as another user.
	folder, err := os.MkdirTemp("", "kapidisk-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.Remove(folder); err != nil {
			t.Error(err)
		}
	})
	if err := unix.Mount("tmpfs", folder, "tmpfs", 0, options); err != nil {
		cannotMount(t, err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(folder, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return &Disk{Folder: folder, t: t, filler: filepath.Join(folder, "filler")}
}

// page is the smallest amount of space that a file takes.
const page = 4096

// Fill takes all free space except leave pages of 4 KiB. It may be called again on a full disk, as
// other files may have shrunk.
func (d *Disk) Fill(leave int) {
	d.t.Helper()
	f, err := os.OpenFile(d.filler, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		d.t.Fatal(err)
	}
	for err == nil {
		_, err = f.Write(make([]byte, page))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		d.t.Fatal(err)
	}
	info, err := f.Stat()
	if err == nil && leave > 0 {
		err = f.Truncate(info.Size() - int64(leave)*page)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		d.t.Fatal(err)
	}
}

// Free releases the space that Fill took.
func (d *Disk) Free() {
	d.t.Helper()
	if err := os.Remove(d.filler); err != nil {
		d.t.Fatal(err)
	}
}
