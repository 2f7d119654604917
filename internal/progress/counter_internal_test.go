package progress

import (
	"fmt"
	"strings"
	"testing"
)

// counterCases are lines that real programs print repeatedly with a rising percentage that is not
// progress. %s stands for the percentage, %d for a number that changes each time. The last column is a
// similar line that is progress, so that the rules don't exclude too much; "" if there is none.
var counterCases = []struct{ program, measure, progress string }{
	{"acpi", "Battery 0: Charging, %s%%, 01:12:%d until charged", "Reading battery log: %s%%"},
	{"ab", "  %s%%     %d", "  %s%%     of all"},
	{"bzip2 -v", "  f%d: 3.123:1, 2.562 bits/byte, %s%% saved, 1000 in, 320 out.", "  f%d: 3.1 bits/byte, %s%% done"},
	{"ccache -s", "  Hits:  %d / 90 (%s %%)", "  Objects:  %d / 90 (%s %%)"},
	{"ccache -s, size", "  Cache size (GB): %d / 5.0 (%s %%)", "  Moving cache (GB): %d / 5.0 (%s %%)"},
	{"cloud provider's agent", "disk_used_percent=%s%% host=a", "upload_percent=%s%% host=a"},
	{"coverage.py", "src/m%d.py      40      9    %s%%", "src/m%d.py      40 of 90    %s%%"},
	{"ctest", "%s%% tests passed, 1 tests failed out of %d", "Running tests: %s%%, %d to go"},
	{"df", "/dev/sda1   98G   %dG   25G  %s%% /", "copied   98G   %dG  %s%% of /"},
	{"df -i", "tmpfs   501245   %d   499000  %s%% /run/user/1000", ""},
	{"disk usage", "disk usage: %s%%", "disk cleaning: %s%%"},
	{"e2fsck", "/dev/sda%d: 11/65536 files (%s%% non-contiguous), 8859/262144 blocks", "/dev/sda%d: 11/65536 files (%s%% done)"},
	{"fio", "  cpu          : usr=%s%%, sys=3.21%%, ctx=%d", "Jobs: 1 (f=1): [R(1)][%s%%][r=12MiB/s][eta 00m:%ds]"},
	{"gcov", "Lines executed:%s%% of %d", "Lines converted:%s%% of %d"},
	{"git diff -M", "similarity index %s%%", "Building index %s%%"},
	{"git log --summary -M", " rename a%d.go => b.go (%s%%)", "Checking out files (%s%%)"},
	{"go test -cover", "ok  \texample.com/m%d\t0.012s\tcoverage: %s%% of statements", "ok  \texample.com/m%d\t0.012s\tcopied: %s%%"},
	{"go tool cover", "example.com/m/a.go:%d:\t\tF1\t\t%s%%", "12:%d:\t\tcopying\t\t%s%%"},
	{"gzip -v", "f%d:\t %s%% -- replaced with f.gz", "f%d:\t %s%% - written to f.gz"},
	{"hey", "  %s%% in 0.%d secs", "  %s%% in %d files"},
	{"istanbul", "Statements   : %s%% ( %d/98 )", "Statements parsed   : %s%% ( %d/98 )"},
	{"jpegoptim", "a%d.jpg 640x480 24bit N JFIF  [OK] 1000 --> 421 bytes (%s%%), optimized.", "a%d.jpg [OK] 421 bytes (%s%%), going on"},
	{"kubectl get hpa -w", "web   Deployment/web   %s%%/80%%   1   10   %d", "web   Deployment/web   %s%%/100%%   1   10   %d"},
	{"kubelet", "Disk usage on image filesystem is at %s%% which is over the high threshold", "Copying image to filesystem is at %s%% which is good"},
	{"lcov", "  lines......: %s%% (%d of 98 lines)", "  reading......: %s%% (%d of 98 lines)"},
	{"lz4 -v", "Compressed %d bytes into 421 bytes ==> %s%%", "[=====> %s%%   ]"},
	{"monit", "'web' mem usage of %s%% matches resource limit", "'web' upload of %s%% matches"},
	{"nagios check_disk", "DISK OK - free space: / %d MB (%s%% inode=99%%);", "DISK OK - wiped: / %d MB (%s%% done);"},
	{"nagios check_swap", "SWAP WARNING - %s%% free (%d MB out of 2047 MB)", "Moving SWAP - %s%% (%d MB out of 2047 MB)"},
	{"nvidia-smi", "| %s%%   %dC    P2    71W / 250W |   1234MiB / 8192MiB |", "| %s%%   %dM    P2    71W / 250W |"},
	{"optipng", "Output file size = 421 bytes (%d bytes = %s%% decrease)", "Output file size = 421 bytes (%d bytes = %s%% done)"},
	{"pg_stat_database in a loop", " app | cache hit ratio | %s%%", " app | cache warming | %s%%"},
	{"ping", "%d packets transmitted, 4 received, %s%% packet loss, time 4005ms", "%d packets transmitted, %s%% done, time 4005ms"},
	{"pmset -g batt", " -InternalBattery-0 (id=4522083)\t%s%%; charging; 1:%d remaining present: true", " -Copy-0 (id=4522083)\t%s%%; 1:%d to go"},
	{"redis-benchmark", "%s%% <= 0.%d milliseconds (cumulative count 50123)", "%s%% 0.%d milliseconds (count 50123)"},
	{"redis INFO", "used_memory_dataset_perc:%s%%", "aof_rewrite_perc:%s%%"},
	{"smartctl", "Percentage Used:                    %s%%", "Percentage tested:                    %s%%"},
	{"smartctl, spare", "Available Spare:                    %s%%", ""},
	{"svgo", "12.%d KiB - %s%% = 5.1 KiB", "12.%d KiB - %s%% =====     "},
	{"upx", "      1000 ->    %d   %s%%   linux/amd64   x", "      1000     %d   %s%%   linux/amd64   x"},
	{"valgrind --tool=cachegrind", "==%d== D1  miss rate:        %s%% (", "==%d== D1  reading:        %s%% ("},
	{"weather", "Chance of rain: %s%%", "Download of rain: %s%%"},
	{"wrk", "     %s%%    1.%dms", "     %s%%    1.%d of 9 GB"},
	{"zip", "  adding: d/f%d (deflated %s%%)", "  adding: d/f%d (written %s%%)"},
	{"zpool list", "tank   9.50G  %dG  2.8G        -         -   %s%%    61%%  1.00x    ONLINE  -", "tank resilvering %dG, %s%%"},
	{"zsh's time", "make  0.10s user 0.0%ds system %s%% cpu 0.182 total", "make  0.10s 0.0%ds %s%% 0.182 total"},
	{"zstd", "f%d                   : %s%%   (  1000 =>    421, f.zst) ", "f%d                   : %s%%   (  1000 of    2421, f.zst) "},
}

// A measure is not taken for progress, however slowly it rises, and the similar line is.
func TestGuessCounterCasesOfPrograms(t *testing.T) {
	lines := func(format string) (lines []string) {
		for i, value := range []string{"50", "66", "75", "80", "90", "95"} {
			line := strings.Replace(format, "%s", value, 1)
			lines = append(lines, strings.ReplaceAll(strings.ReplaceAll(line, "%d", fmt.Sprint(11+i)), "%%", "%"))
		}
		return lines
	}
	for _, c := range counterCases {
		t.Run(c.program, func(t *testing.T) {
			if got := believed(lines(c.measure)...); strings.Trim(got, "- ") != "" {
				t.Errorf("%q is taken for progress: %s", lines(c.measure)[0], got)
			}
			if c.progress == "" {
				return
			}
			if got := believed(lines(c.progress)...); !strings.HasSuffix(got, " 90 95") {
				t.Errorf("%q is not taken for progress: %s", lines(c.progress)[0], got)
			}
		})
	}
}

// Progress lines of programs for which there is no recording.
func TestGuessProgressOfPrograms(t *testing.T) {
	for program, format := range map[string]string{
		"7z":                "%s%% 12 + home/f%d",
		"aria2c":            "[#2089b0 1.%dMiB/33MiB(%s%%) CN:1 DL:115KiB ETA:1s]",
		"cryptsetup":        "Progress: %s%%, ETA 00m%ds, 1234 MiB written, speed 12.3 MiB/s",
		"ddrescue":          "pct rescued:   %s%%, read errors:        0,  remaining time:         %ds",
		"DISM":              "[==========================%s%%                           ]",
		"docker pull":       "f0a1b2c3: Extracting %s%%",
		"dump":              "  DUMP: %s%% done, finished in 0:%d",
		"fio":               "Jobs: 1 (f=1): [R(1)][%s%%][r=12MiB/s,w=0KiB/s][r=3072,w=0 IOPS][eta 00m:%ds]",
		"fsarchiver":        "-[00][%s%%][REGFILE ] /home/f%d",
		"fsck.ext4 -C":      "/dev/sda1: |====================== | %s%%",
		"gradle":            "<=====--------> %s%% EXECUTING [%ds]",
		"HandBrakeCLI":      "Encoding: task 1 of 1, %s %% (25.%d fps, avg 25.12 fps, ETA 00h00m12s)",
		"hashcat":           "Progress.........: %d/98 (%s%%)",
		"mdadm":             "      [==>..................]  recovery = %s%% (37043392/292945152) finish=127.%dmin speed=33440K/sec",
		"memory test":       "  Loop 1/1: Testing memory: %s%%",
		"mksquashfs":        "[=========================/          ] %d/98  %s%%",
		"mkvmerge":          "Progress: %s%%",
		"mkvmerge, German":  "Fortschritt: %s%%",
		"nmap":              "SYN Stealth Scan Timing: About %s%% done; ETC: 12:%d (0:00:12 remaining)",
		"par2":              "Repairing: %s%%",
		"partclone":         "Elapsed: 00:00:%d, Remaining: 00:00:12, Completed: %s%%, 1.23GB/min,",
		"pg_basebackup":     "12%d/9867890 kB (%s%%), 0/1 tablespace",
		"qemu-img":          "    (%s.00/100%%)",
		"rclone":            "Transferred:   	   12.%d MiB / 96.1 MiB, %s%%, 1.2 MiB/s, ETA 12s",
		"restic":            "[0:%d] %s%%  12 files 1.2 GiB, total 98 files 9.8 GiB, 0 errors ETA 0:12",
		"robocopy":          "%s%%",
		"unrar":             "Extracting  home/f                                         %s%%",
		"vagrant":           "==> default: Progress: %s%% (Rate: 12.%dM/s, Estimated time remaining: 0:00:12)",
		"webpack":           "<s> [webpack.Progress] %s%% building %d/98 modules",
		"yt-dlp":            "[download]  %s%% of   12.34MiB at    1.%dMiB/s ETA 00:12",
		"zfs scrub":         "\t1.%dG repaired, %s%% done, 00:12:13 to go",
		"kernel's checks":   "Checking for bad blocks (read-only test): %s%% done, 0:%d elapsed. (0/0/0 errors)",
		"checking for some": "Scanning for errors: %s%%",
	} {
		var lines []string
		for i, value := range []string{"50", "66", "75", "80"} {
			line := strings.Replace(format, "%s", value, 1)
			lines = append(lines, strings.ReplaceAll(strings.ReplaceAll(line, "%d", fmt.Sprint(11+i)), "%%", "%"))
		}
		if got := believed(lines...); !strings.HasSuffix(got, " 75 80") {
			t.Errorf("%s: %q is not taken for progress: %s", program, lines[0], got)
		}
	}
}
