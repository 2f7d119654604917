package supervise

import "os"

func writeAll(f *os.File, p []byte) error {
	if len(p) == 0 {
		return nil
	}
	return full(f.Write(p))
}

// Takes says whether a file would take a line right now, which isn't known here.
func Takes(*os.File) bool { return true }
