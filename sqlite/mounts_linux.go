package sqlite

import (
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"

	"github.com/kettubot/kapi"
)

// fuse is what statfs says of every file system made in user space, local or not.
const fuse = 0x65735546

// fuseNetworks are the names under which those that reach over the network are mounted.
var fuseNetworks = []string{"sshfs", "s3fs", "rclone", "glusterfs", "ceph", "davfs", "gcsfuse", "juicefs", "nfs", "smb"}

// networkName names a network file system by its magic number, or by the mount of the folder.
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
	root   string // what of it is mounted
	point  string // where
	kind   string // of the file system
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

// mountOf finds the mount that a path lies on.
func mountOf(mountinfo, path string) (found mount) {
	for m := range mountsIn(mountinfo) {
		inside := m.point == "/" || path == m.point || strings.HasPrefix(path, m.point+"/")
		if inside && len(m.point) >= len(found.point) { // the last one covers those before it
			found = m
		}
	}
	return found
}

// fuseNetwork finds the mount that folder lies on in the text of mountinfo, and returns its type if
// that reaches over the network.
func fuseNetwork(mountinfo, folder string) string {
	kind := mountOf(mountinfo, folder).kind
	for _, name := range fuseNetworks {
		if strings.Contains(kind, name) {
			return kind
		}
	}
	return ""
}

// checkMount refuses a file that is mounted by itself from elsewhere: its log would lie here, and
// that of processes that see the file at its own place there.
func checkMount(path string) error {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil //nolint:nilerror // without /proc nobody can tell
	}
	if from := mountedFrom(string(mounts), path); from != "" {
		return fmt.Errorf("%w: the file is mounted here by itself (it is %s of its file system), without the log that belongs beside it: "+
			"mount its folder instead", kapi.ErrUnavailable, from)
	}
	return nil
}

// mountedFrom returns which file of its file system is mounted at path, "" if path is no mount of
// its own, or a mount of what stands there anyway.
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
