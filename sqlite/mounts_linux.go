package sqlite

import (
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"

	"github.com/kettubot/kapi"
)

// fuse is the magic number that statfs returns for every file system in user space, local or not.
const fuse = 0x65735546

// fuseNetworks are parts of the types under which FUSE's network file systems are mounted.
var fuseNetworks = []string{"sshfs", "s3fs", "rclone", "glusterfs", "ceph", "davfs", "gcsfuse", "juicefs", "nfs", "smb"}

// networkName returns the name of a network file system by its magic number or, for FUSE, by the type of
// the folder's mount. It returns "" if the file system is local or unknown.
func networkName(magic int64, folder string) string {
	magic &= 0xffffffff // some architectures sign-extend it
	if name := networkFileSystems[magic]; name != "" || magic != fuse {
		return name
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return ""
	}
	real, err := filepath.EvalSymlinks(folder)
	if err != nil {
		return ""
	}
	return fuseNetwork(string(mounts), real)
}

// A mount is a line of mountinfo (proc(5)).
type mount struct {
	device string // of the file system
	root   string // the path inside the file system that is mounted
	point  string // where it is mounted
	kind   string // the type of the file system
}

func mountsIn(mountinfo string) iter.Seq[mount] {
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	return func(yield func(mount) bool) {
		for line := range strings.Lines(mountinfo) {
			before, after, ok := strings.Cut(line, " - ")
			fields, types := strings.Fields(before), strings.Fields(after)
			if !ok || len(fields) < 5 || len(types) == 0 {
				continue
			}
			if !yield(mount{fields[2], unescape.Replace(fields[3]), unescape.Replace(fields[4]), types[0]}) {
				return
			}
		}
	}
}

// mountOf returns the mount that path is on.
func mountOf(mountinfo, path string) (found mount) {
	for m := range mountsIn(mountinfo) {
		inside := m.point == "/" || path == m.point || strings.HasPrefix(path, m.point+"/")
		if inside && len(m.point) >= len(found.point) { // a later mount covers the earlier ones
			found = m
		}
	}
	return found
}

// fuseNetwork returns the type of the mount that folder is on if it is a network file system, "" if not.
func fuseNetwork(mountinfo, folder string) string {
	kind := mountOf(mountinfo, folder).kind
	for _, name := range fuseNetworks {
		if strings.Contains(kind, name) {
			return kind
		}
	}
	return ""
}

// checkMount refuses a file that is mounted by itself. Its log would be beside the mount, but processes
// that open the file at its original place would have a log there.
func checkMount(path string) error {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil //nolint:nilerror // without /proc there is no way to tell
	}
	if from := mountedFrom(string(mounts), path); from != "" {
		return fmt.Errorf("%w: the file is mounted here by itself (it is %s of its file system), without the log that belongs beside it: "+
			"mount its folder instead", kapi.ErrUnavailable, from)
	}
	return nil
}

// mountedFrom returns the path, inside its file system, of the file that is mounted at path. It returns ""
// if path is not a mount point, or the same file would be there without the mount.
func mountedFrom(mountinfo, path string) string {
	file, folder := mountOf(mountinfo, path), mountOf(mountinfo, filepath.Dir(path))
	if file.point != path {
		return ""
	}
	below, err := filepath.Rel(folder.point, path)
	if err == nil && file.device == folder.device && file.root == filepath.Join(folder.root, below) {
		return ""
	}
	return file.root
}
