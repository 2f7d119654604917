package sqlite

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestNetworkName(t *testing.T) {
	for magic, want := range map[int64]string{
		0x6969: "NFS", 0x517b: "SMB", 0xff534d42: "CIFS", 0xfe534d42: "SMB2", 0x01021997: "9P", 0x00c36400: "Ceph",
		-0xacb2be:  "CIFS",                                             // sign-extended
		0xef53:     "",                                                 // ext4
		0x9123683e: "", 0x58465342: "", 0x01021994: "", 0x794c7630: "", // btrfs, XFS, tmpfs, overlayfs
		fuse: "", // this folder is on no FUSE mount
		0:    "",
	} {
		if got := networkName(magic, t.TempDir()); got != want {
			t.Errorf("magic number %#x is %q, want %q", magic, got, want)
		}
	}
	if got := networkName(fuse, filepath.Join(t.TempDir(), "no")); got != "" {
		t.Errorf("a folder that isn't there is on %q", got)
	}
	if got := networkFileSystem(filepath.Join(t.TempDir(), "no")); got != "" {
		t.Errorf("a folder that isn't there is on %q", got)
	}
	if got := networkFileSystem(t.TempDir()); got != "" {
		t.Errorf("the folder for temporary files is on %q, where stores are refused", got)
	}
}

// mountinfo is the content of /proc/self/mountinfo on a machine with many mounts (proc(5)).
const mountinfo = `22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
23 22 0:21 / /proc rw - proc proc rw
30 22 0:40 / /mnt rw - tmpfs tmpfs rw
31 30 0:41 / /mnt/ssh rw,nosuid shared:7 master:2 - fuse.sshfs host:/srv rw,user_id=0
32 31 0:42 / /mnt/ssh/local rw - ext4 /dev/vdb rw
33 32 0:43 / /mnt/ssh/local/deep rw - fuse.s3fs s3fs rw
34 30 0:44 / /mnt/ssh-keys rw - fuse.bindfs /home rw
35 30 0:45 / /mnt/with\040space rw - fuse.rclone remote: rw
36 30 0:46 / /mnt/with\011tab rw - fuse.glusterfs host:/v rw
37 30 0:47 / /mnt/with\012line rw - fuse.juicefs JuiceFS:x rw
38 30 0:48 / /mnt/with\134040slash rw - fuse.davfs2 https://host rw
39 30 0:49 / /mnt/ntfs rw - fuseblk /dev/sdb1 rw
40 30 0:50 / /mnt/twice rw - fuse.sshfs host:/a rw
41 40 0:51 / /mnt/twice rw - ext4 /dev/vdc rw
42 30 0:52 / /mnt/covered rw - ext4 /dev/vdd rw
43 42 0:53 / /mnt/covered rw - fuse.ceph-fuse ceph rw
`

func TestFuseNetwork(t *testing.T) {
	for folder, want := range map[string]string{
		"/":                       "",
		"/home":                   "",
		"/mnt":                    "",
		"/mnt/ssh":                "fuse.sshfs",
		"/mnt/ssh/a/b":            "fuse.sshfs",
		"/mnt/sshx":               "",
		"/mnt/ssh-keys/a":         "",
		"/mnt/ssh/local":          "",
		"/mnt/ssh/local/a":        "",
		"/mnt/ssh/local/deep":     "fuse.s3fs",
		"/mnt/ssh/local/deeper":   "",
		"/mnt/with space/a":       "fuse.rclone",
		"/mnt/with":               "",
		"/mnt/with\ttab/a":        "fuse.glusterfs",
		"/mnt/with\nline":         "fuse.juicefs",
		`/mnt/with\040slash`:      "fuse.davfs2",
		"/mnt/with slash":         "",
		"/mnt/ntfs/kapi":          "",
		"/mnt/twice":              "",
		"/mnt/covered/by/another": "fuse.ceph-fuse",
	} {
		if got := fuseNetwork(mountinfo, folder); got != want {
			t.Errorf("%q is on %q, want %q", folder, got, want)
		}
	}
	if got := fuseNetwork("1 0 0:1 / / rw - fuse.sshfs host: rw\n", "/any"); got != "fuse.sshfs" {
		t.Errorf("a root that is mounted over the network is %q", got)
	}
}

func FuzzFuseNetwork(f *testing.F) {
	f.Add(mountinfo, "/mnt/ssh/a")
	for _, line := range []string{"", "\n", " - ", "1 2 3 4 / - ", "1 2 3 4 / rw -", "1 2 3 4 / - fuse.sshfs", "1 2 3 4 \\ - x"} {
		f.Add(line, "/")
	}
	f.Fuzz(func(t *testing.T, mounts, folder string) {
		if kind := fuseNetwork(mounts, folder); kind != "" && !strings.Contains(mounts, kind) {
			t.Errorf("%q is none of the mounts", kind)
		}
	})
}

// TestNetworkFolder: nothing is created in a folder on a network file system.
func TestNetworkFolder(t *testing.T) {
	path := newPath(t)
	asked := ""
	err := newFile(path, size{readers: 1}).find(func(folder string) string { asked = folder; return "NFS" })
	if err == nil || asked != filepath.Dir(path) || !strings.Contains(err.Error(), "it is on a network file system (NFS)") {
		t.Errorf("asked for %q; the error is %v", asked, err)
	}
	wantRefusal(t, (&Store{path: path}).fail(err), path, "network file system")
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) > 0 {
		t.Errorf("the folder has %v (error: %v)", left, err)
	}
}
