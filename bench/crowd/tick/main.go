// Command tick is the command of a `kapi run` that reports its progress.
//
//	tick INDEX FOLDER BEGAN SPAN APART HZ
//
// It writes INDEX to the FIFO "begun" in FOLDER, and then HZ times a second how much of SPAN has passed since BEGAN
// (ns since 1970): whoever sees a report knows when it was made. It ends at the time (ns since 1970) that it finds in
// the file "end" in FOLDER, plus INDEX times APART. SPAN and APART are durations, such as 20ms.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "tick:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 6 {
		return fmt.Errorf("%d arguments", len(args))
	}
	index, err1 := strconv.Atoi(args[0])
	began, err2 := strconv.ParseInt(args[2], 10, 64)
	span, err3 := time.ParseDuration(args[3])
	apart, err4 := time.ParseDuration(args[4])
	hz, err5 := strconv.ParseFloat(args[5], 64)
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		return err
	}
	if err := announce(filepath.Join(args[1], "begun"), index); err != nil {
		return err
	}
	pause := time.Duration(float64(time.Second) / hz)
	for {
		if first, ok := readTime(filepath.Join(args[1], "end")); ok {
			if left := time.Until(first.Add(time.Duration(index) * apart)); left < pause {
				time.Sleep(left)
				return nil
			}
		}
		fmt.Printf("copied %.5f%% of it\n", 100*float64(time.Now().UnixNano()-began)/float64(span))
		time.Sleep(pause)
	}
}

func announce(path string, index int) error {
	begun, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(begun, index)
	return errors.Join(err, begun.Close())
}

// readTime returns the time in a file, if there is one.
func readTime(path string) (time.Time, bool) {
	text, err := os.ReadFile(path)
	if err != nil {
		return time.Time{}, false
	}
	ns, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	return time.Unix(0, ns), err == nil
}
