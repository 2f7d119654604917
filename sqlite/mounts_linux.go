package sqlite

import (
	"os"
	"path/filepath"
	"strings"
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

// fuseNetwork finds the mount that folder lies on in the text of mountinfo (proc(5)),
// and returns its type if that reaches over the network.
func fuseNetwork(mountinfo, folder string) string {
	longest, kind := "", ""
	for line := range strings.Lines(mountinfo) {
		before, after, ok := strings.Cut(line, " - ")
		fields, types := strings.Fields(before), strings.Fields(after)
		if !ok || len(fields) < 5 || len(types) == 0 {
			continue
		}
		point := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(fields[4])
		inside := point == "/" || folder == point || strings.HasPrefix(folder, point+"/")
		if inside && len(point) >= len(longest) {
			longest, kind = point, types[0]
		}
	}
	for _, name := range fuseNetworks {
		if strings.Contains(kind, name) {
			return kind
		}
	}
	return ""
}
