//go:build ignore

// Command record runs real tools and records their output, with times, for the tests of package
// progress. Run it from that package's folder, as root on Debian (it starts servers on loopback and
// reinstalls a package with apt). Its arguments are the recordings to make; without any it makes all:
//
//	go run testdata/record.go [NAME...]
//
// A recording begins with lines for the tool, its version, the command and whether its output was a
// terminal. Each further line has a time in milliseconds and the output at that time, quoted as in Go.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/creack/pty"
)

type recording struct {
	name    string
	tty     bool
	version string // shell commands, all in a temporary folder
	prepare string
	command string
	cleanup string
}

const (
	bigFile   = "head -c 20000000 /dev/zero > big; "
	webServer = bigFile + "python3 -m http.server --bind 127.0.0.1 0 > web.log 2>&1 & echo $! > web.pid; " +
		"until grep -q 'port' web.log 2>/dev/null; do sleep 0.1; done; " +
		`grep -o 'port [0-9]*' web.log | head -1 | cut -d' ' -f2 > port`
	stopWeb    = "kill $(cat web.pid)"
	repository = "git init -q r; cd r; for i in $(seq 1 1500); do head -c 5000 /dev/urandom > f$i; done; " +
		"git add -A; git -c user.name=n -c user.email=e commit -q -m x"
	postgres = `bin=$(ls -d /usr/lib/postgresql/*/bin | tail -1); chmod 755 .; mkdir pg; chown postgres pg; ` +
		`runuser -u postgres -- $bin/initdb -A trust -D pg/data >/dev/null; ` +
		`runuser -u postgres -- $bin/pg_ctl -D pg/data -w -l pg/log -o "-c listen_addresses='' -k $PWD/pg" start >/dev/null`
	stopPostgres = `bin=$(ls -d /usr/lib/postgresql/*/bin | tail -1); runuser -u postgres -- $bin/pg_ctl -D pg/data -m fast stop >/dev/null`
	redis        = `for p in 17001 17002 17003; do mkdir n$p; (cd n$p; redis-server --bind 127.0.0.1 --port $p --cluster-enabled yes --daemonize yes --save '' >/dev/null); done; sleep 1; ` +
		`redis-cli --cluster create 127.0.0.1:17001 127.0.0.1:17002 127.0.0.1:17003 --cluster-yes >/dev/null; sleep 3`
	stopRedis = `for p in 17001 17002 17003; do redis-cli -p $p shutdown nosave; done`
)

const (
	cmakeProject = `printf 'cmake_minimum_required(VERSION 3.10)\nproject(x C)\nset(S)\n' > CMakeLists.txt; ` +
		`for n in alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho sigma tau upsilon phi chi psi omega; do ` +
		`echo "int $n(void){return 1;}" > $n.c; echo "list(APPEND S $n.c)" >> CMakeLists.txt; done; ` +
		`echo 'int main(void){return 0;}' > main.c; printf 'add_library(greek ${S})\nadd_executable(main main.c)\ntarget_link_libraries(main greek)\n' >> CMakeLists.txt`
	pytestSuite = `for n in accounts billing catalog delivery errors forms groups hooks images jobs; do ` +
		`printf 'import pytest, time\n@pytest.mark.parametrize("i", range(7))\ndef test_%s(i):\n    time.sleep(0.01)\n' $n > test_$n.py; done`
	borgArchive = `export BORG_BASE_DIR=$PWD; mkdir src; for n in alpha beta gamma delta epsilon zeta eta theta iota kappa; do head -c 9000000 /dev/urandom > src/$n; done; ` +
		`borg init -e none repo 2>/dev/null; borg create repo::a src 2>/dev/null`
	dirstat = "git init -q r; cd r; for d in auth bench client cmd docs server; do mkdir $d; seq 1 100 > $d/x; done; git add -A; git -c user.name=n -c user.email=e commit -q -m x; " +
		"i=10; for d in auth bench client cmd docs server; do seq 1 $i | tac >> $d/x; i=$((i*2)); done; git -c user.name=n -c user.email=e commit -q -a -m y"
	renames = "git init -q r; cd r; for d in alpha beta gamma delta epsilon; do for i in $(seq 1 100); do echo $d $i; done > $d; done; git add -A; git -c user.name=n -c user.email=e commit -q -m x; " +
		"i=25; for d in alpha beta gamma delta epsilon; do git mv $d z$d; seq 1 $i >> z$d; i=$((i-6)); done; git -c user.name=n -c user.email=e commit -q -a -m y"
	goCover = `mkdir m; cd m; go mod init example.com/m 2>/dev/null; i=1; for p in alpha beta gamma delta epsilon; do mkdir $p; ` +
		`{ echo "package $p"; for f in $(seq 1 6); do echo "func F$f() int { return $f }"; done; } > $p/x.go; ` +
		`{ echo "package $p"; echo 'import "testing"'; echo 'func TestF(t *testing.T) {'; for f in $(seq 1 $i); do echo "F$f()"; done; echo '}'; } > $p/x_test.go; i=$((i+1)); done`
)

var all = []recording{
	{"rsync-progress2", false, "rsync --version", bigFile + "mkdir d; for i in 1 2 3 4 5; do cp big d/$i; done", "rsync -a --info=progress2 --bwlimit=40000 d/ e/", ""},
	{"rsync-progress", false, "rsync --version", bigFile, "rsync --progress --bwlimit=10000 big copy", ""},
	{"pv", true, "pv --version", bigFile, "pv -L 8m -i 0.2 big > /dev/null", ""},
	{"pv-pipe", false, "pv --version", bigFile, "pv -f -L 8m -i 0.2 big > /dev/null", ""},
	{"pv-unknown-size", false, "pv --version", bigFile, "cat big | pv -f -L 8m -i 0.2 > /dev/null", ""},
	{"curl", false, "curl --version", strings.Replace(webServer, "20000000", "200000000", 1), "curl --limit-rate 40M -o copy http://127.0.0.1:$(cat port)/big", stopWeb},
	{"curl-bar", false, "curl --version", strings.Replace(webServer, "20000000", "200000000", 1), "curl -# --limit-rate 40M -o copy http://127.0.0.1:$(cat port)/big", stopWeb},
	{"wget", true, "wget --version", webServer, "wget --limit-rate=8m -O copy http://127.0.0.1:$(cat port)/big", stopWeb},
	{"wget-dots", false, "wget --version", webServer, "wget --limit-rate=8m -O copy http://127.0.0.1:$(cat port)/big", stopWeb},
	{"dd", false, "dd --version", "", "dd if=/dev/zero of=/dev/null bs=1M count=40000 status=progress", ""},
	{"apt", true, "apt-get --version", "", "apt-get install --reinstall -y -o 'Dir::Ignore-Files-Silently::=disabled' -o Dpkg::Progress-Fancy=1 pv", ""},
	{"apt-pipe", false, "apt-get --version", "", "apt-get install --reinstall -y -o 'Dir::Ignore-Files-Silently::=disabled' pv", ""},
	{"pgbench", false, "pgbench --version", postgres, "pgbench -h $PWD/pg -U postgres -i -s 20 postgres", stopPostgres},
	{"pgbench-run", false, "pgbench --version", postgres + "; pgbench -q -h $PWD/pg -U postgres -i -s 1 postgres 2>/dev/null", "pgbench -h $PWD/pg -U postgres -T 5 -P 1 postgres", stopPostgres},
	{"redis-reshard", false, "redis-cli --version", redis, "redis-cli --cluster reshard 127.0.0.1:17001 --cluster-from all --cluster-to $(redis-cli -p 17001 cluster myid) --cluster-slots 300 --cluster-yes", stopRedis},
	{"git-clone", false, "git --version", repository, "git clone --progress file://$PWD/r copy", ""},
	{"git-clone-terminal", true, "git --version", repository, "git clone file://$PWD/r copy", ""},
	{"npm", true, "npm --version", "npm init -y >/dev/null", "npm install --no-audit --no-fund left-pad is-odd express", ""},
	{"npm-pipe", false, "npm --version", "npm init -y >/dev/null", "npm install --no-audit --no-fund left-pad is-odd express", ""},
	{"ffmpeg", false, "ffmpeg -version", "", "ffmpeg -hide_banner -nostdin -f lavfi -i testsrc=duration=60:size=640x480 -f null -", ""},
	{"xz", true, "xz --version", "head -c 12000000 /dev/urandom > big", "xz -v -k -T1 big", ""},
	{"zstd", true, "zstd --version", "head -c 400000000 /dev/urandom > big", "zstd -15 -T1 -f big", ""},
	{"shred", false, "shred --version", bigFile, "shred -v -n 2 big", ""},
	{"badblocks", true, "dpkg-query -W e2fsprogs", "head -c 300000000 /dev/zero > big", "badblocks -s -v -w big", ""},
	{"mke2fs", true, "mke2fs -V", "", "mke2fs -F image 4G", ""},
	{"cargo-terminal-integration", true, "cargo --version", "cargo init -q --name x . && mkdir -p a b c && for p in a b c; do cargo init -q --lib $p; echo \"$p = { path = \\\"$p\\\" }\" >> Cargo.toml; done", "CARGO_TERM_PROGRESS_TERM_INTEGRATION=true CARGO_TERM_PROGRESS_WHEN=always CARGO_TERM_PROGRESS_WIDTH=80 cargo build", ""},
	{"cmake", false, "cmake --version", cmakeProject, "cmake -B build . >/dev/null; make -C build -j4", ""},
	{"cmake-terminal", true, "cmake --version", cmakeProject, "cmake -B build . >/dev/null; make -C build", ""},
	{"pytest", false, "/usr/bin/pytest-3 --version", pytestSuite, "/usr/bin/pytest-3 -p no:cacheprovider", ""},
	{"pytest-terminal", true, "/usr/bin/pytest-3 --version", pytestSuite, "/usr/bin/pytest-3 -v -p no:cacheprovider", ""},
	{"borg-extract", true, "borg --version", borgArchive, "borg extract --progress repo::a", ""},
	{"zip", false, "zip --version | head -2 | tail -1", "mkdir d; for i in $(seq 1 30); do (head -c $((i*2000)) /dev/urandom; head -c 60000 /dev/zero) > d/f$i; done; head -c 900000 /dev/urandom > big", "zip -r x.zip d big", ""},
	{"git-dirstat", false, "git --version", dirstat, "cd r; git diff --dirstat=lines,0 HEAD~1; git diff -M --summary HEAD~1", ""},
	{"git-renames", false, "git --version", renames, "cd r; git log --stat -M --summary -1", ""},
	{"free-and-df", false, "df --version", "", "for i in 1 2 3; do free; df -h; sleep 0.2; done", ""},
	{"go-cover", false, "go version", goCover, "cd m; go test -count=1 -cover ./...; go test -coverprofile=c ./... >/dev/null; go tool cover -func=c", ""},
	{"ping", false, "dpkg-query -W iputils-ping", "", "ping -c 3 -i 0.2 127.0.0.1", ""},
	{"df", false, "df --version", "", "df", ""},
	{"top", false, "dpkg-query -W procps", "", "top -b -n 4 -d 0.3", ""},
}

func main() {
	log.SetFlags(0)
	for _, r := range all {
		if len(os.Args) > 1 && !slices.Contains(os.Args[1:], r.name) {
			continue
		}
		if err := r.record(); err != nil {
			log.Printf("%s: %v", r.name, err)
		} else {
			log.Printf("%s: recorded", r.name)
		}
	}
}

// mirrors matches the hosts that packages come from, as these don't matter.
var mirrors = regexp.MustCompile(`https?://[a-z][a-z0-9.-]*[a-z]/`)

func shell(dir, script string) *exec.Cmd {
	cmd := exec.Command("bash", "-c", script)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "TERM=xterm-256color", "COLUMNS=80", "DEBIAN_FRONTEND=noninteractive")
	return cmd
}

func (r recording) record() error {
	dir, err := os.MkdirTemp("", "record")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	version, err := shell(dir, r.version+" 2>&1 | head -1").Output()
	if err != nil || bytes.Contains(version, []byte("not found")) {
		return fmt.Errorf("%w: %s", errors.Join(err, errors.New("no version")), version)
	}
	defer func() { _ = shell(dir, r.cleanup).Run() }()
	if out, err := shell(dir, r.prepare).CombinedOutput(); err != nil {
		return fmt.Errorf("prepare: %w: %s", err, out)
	}
	var text bytes.Buffer
	fmt.Fprintf(&text, "version: %s\ncommand: %s\nterminal: %v\n", bytes.TrimSpace(version), r.command, r.tty)
	cmd := shell(dir, r.command)
	var from io.Reader
	if r.tty {
		master, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 24, Cols: 80})
		if err != nil {
			return err
		}
		defer master.Close()
		from = master
	} else {
		in, out, err := os.Pipe()
		if err != nil {
			return err
		}
		cmd.Stdout, cmd.Stderr = out, out
		if err := cmd.Start(); err != nil {
			return err
		}
		out.Close()
		from = in
	}
	began := time.Now()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			said := mirrors.ReplaceAllString(strings.ReplaceAll(string(buf[:n]), dir, "/tmp/record"), "http://mirror.example/")
			fmt.Fprintf(&text, "%d %q\n", time.Since(began).Milliseconds(), said)
		}
		if err != nil {
			break
		}
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("%w: %.500s", err, text.String())
	}
	const most = 200 << 10
	if text.Len() > most {
		return fmt.Errorf("%d bytes are too many for a recording", text.Len())
	}
	return os.WriteFile(filepath.Join("testdata", "recordings", r.name+".rec"), text.Bytes(), 0o644)
}
