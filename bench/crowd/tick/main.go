// Command tick is the command of a `kapi run` that reports its progress.
//
//	tick INDEX FOLDER BEGAN HZ
//
// It writes INDEX to the FIFO "begun" in FOLDER, and then HZ times a second the share of crowd.Span that
// has passed since BEGAN (ns since 1970): whoever sees a report knows when it was made. It ends at the time
// (ns since 1970) that it finds in the file "end" in FOLDER, plus INDEX times crowd.Apart.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/kettubot/kapi/bench/crowd"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "tick:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 4 {
		return fmt.Errorf("%d arguments", len(args))
	}
	folder := args[1]
	began, err := strconv.ParseInt(args[2], 10, 64)
	if err != nil {
		return err
	}
	hz, err := strconv.ParseFloat(args[3], 64)
	if err != nil {
		return err
	}
	index, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	if err := announce(filepath.Join(folder, "begun"), index); err != nil {
		return err
	}
	pause := time.Duration(float64(time.Second) / hz)
	for {
		if end, ok := end(filepath.Join(folder, "end"), index); ok {
			if left := time.Until(end); left < pause {
				time.Sleep(left)
				return nil
			}
		}
		fmt.Printf("copied %.5f%% of it\n", 100*float64(time.Now().UnixNano()-began)/float64(crowd.Span))
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

// end returns when the command is to end, if that is known.
func end(path string, index int) (time.Time, bool) {
	text, err := os.ReadFile(path)
	if err != nil {
		return time.Time{}, false
	}
	first, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	return time.Unix(0, first).Add(time.Duration(index) * crowd.Apart), err == nil
}
