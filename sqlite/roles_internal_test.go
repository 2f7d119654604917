package sqlite

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/kettubot/kapi/internal/store"
)

// roleLock holds the write lock until it is told to release it, or its stdin ends.
func roleLock(path string, in *bufio.Scanner) error {
	return holdLock(path, in, "BEGIN IMMEDIATE")
}

// roleLockAll is roleLock with a lock that keeps readers out, too.
func roleLockAll(path string, in *bufio.Scanner) error {
	return holdLock(path, in, "PRAGMA locking_mode = exclusive", "BEGIN IMMEDIATE")
}

func holdLock(path string, in *bufio.Scanner, queries ...string) error {
	c, err := sqlite.OpenConn(path, sqlite.OpenReadWrite)
	if err != nil {
		return err
	}
	for _, query := range queries {
		if err := exec(c, query); err != nil {
			return err
		}
	}
	fmt.Println("locked")
	in.Scan()
	return c.Close()
}

// roleCommitter opens the store and prints its epoch. Then it commits each id that it reads, and prints how many
// actions it sees.
func roleCommitter(path string, in *bufio.Scanner) error {
	fmt.Println("ready")
	if _, err := waitFor(in); err != nil {
		return err
	}
	s, err := Open(path)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	snapshot, err := s.Snapshot(ctx)
	if err != nil {
		return err
	}
	fmt.Println(snapshot.Epoch)
	for in.Scan() {
		if id := in.Text(); id != "" {
			if _, err := insert(ctx, s, id); err != nil {
				return err
			}
		}
		if snapshot, err = s.Snapshot(ctx); err != nil {
			return err
		}
		fmt.Println(len(snapshot.Records))
	}
	return s.Close()
}

// roleCrash commits an action, begins another commit, and ends without closing anything.
func roleCrash(path string, _ *bufio.Scanner) error {
	s, err := Open(path)
	if err != nil {
		return err
	}
	if _, err := insert(context.Background(), s, "committed"); err != nil {
		return err
	}
	return s.Commit(context.Background(), store.Batch{}, func(store.Loaded) (store.Writes, error) {
		fmt.Println("inside")
		os.Exit(0)
		return store.Writes{}, nil
	})
}

// roleHolder keeps a transaction open until it is killed.
func roleHolder(path string, in *bufio.Scanner) error {
	s, err := Open(path)
	if err != nil {
		return err
	}
	return s.Commit(context.Background(), store.Batch{}, func(store.Loaded) (store.Writes, error) {
		fmt.Println("inside")
		in.Scan()
		return store.Writes{}, nil
	})
}

// roleKeep keeps the store open until its stdin ends.
func roleKeep(path string, in *bufio.Scanner) error {
	s, err := Open(path)
	if err != nil {
		return err
	}
	fmt.Println("open")
	in.Scan()
	return s.Close()
}

// roleMover moves a file to the path of each side file in turn, and back, until its stdin ends.
func roleMover(path string, in *bufio.Scanner) error {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		in.Scan()
	}()
	fmt.Println("moving")
	for i := 0; ; i++ {
		select {
		case <-ended:
			return nil
		default:
		}
		side := path + append(sqliteSides(), runnersName)[i%4]
		_ = os.Rename(path+".victim", side)
		time.Sleep(time.Duration(i%7) * 20 * time.Microsecond)
		_ = os.Rename(side, path+".victim")
	}
}
