package supervise

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// Exit codes of a command that could not be run, as POSIX shells have them.
const (
	codeNotExecutable = 126
	codeNotFound      = 127
)

// An ExecError says why a command could not be run.
type ExecError struct {
	// Name is the command as the user gave it.
	Name string
	// Code is 127 if there is no such command, else 126.
	Code int
	// Err is the reason.
	Err error
}

func (e *ExecError) Error() string {
	if e.Code == codeNotFound {
		return fmt.Sprintf("%s: command not found", shown(e.Name))
	}
	return fmt.Sprintf("%s: can't be executed: %v", shown(e.Name), e.Err)
}

func (e *ExecError) Unwrap() error { return e.Err }

func shown(name string) string {
	if name == "" {
		return `""`
	}
	return name
}

// Look finds the file that a command names, the way a shell would: on PATH,
// unless the name has a slash. The error is an *ExecError.
func Look(name string) (string, error) {
	path, err := exec.LookPath(name)
	// os/exec refuses a program in the current folder, because a caller may not have meant it. Here the
	// user typed the name, and PATH includes the folder.
	if err == nil || errors.Is(err, exec.ErrDot) {
		return path, nil
	}
	if found, ok := onPath(name); errors.Is(err, exec.ErrNotFound) && ok {
		return "", &ExecError{Name: name, Code: codeNotExecutable, Err: fmt.Errorf("%w: %s", fs.ErrPermission, found)}
	}
	var look *exec.Error
	if errors.As(err, &look) {
		err = look.Err
	}
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return "", &ExecError{Name: name, Code: codeNotFound, Err: err}
	}
	return "", &ExecError{Name: name, Code: codeNotExecutable, Err: err}
}

// onPath finds a file of that name on PATH that can't be executed.
func onPath(name string) (string, bool) {
	if name == "" || strings.ContainsAny(name, `/\`) {
		return "", false
	}
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		file := filepath.Join(dir, name)
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() {
			return file, true
		}
	}
	return "", false
}

// execError turns an error from starting c into an ExecError.
func execError(c Command, err error) error {
	var known *ExecError
	if errors.As(err, &known) {
		return err
	}
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	e := &ExecError{Name: c.Args[0], Code: codeNotExecutable, Err: err}
	if errors.Is(err, fs.ErrNotExist) {
		// A missing interpreter gives ENOENT too.
		if _, err := os.Stat(c.Path); err == nil {
			e.Err = errors.New("the interpreter that it names does not exist")
		} else {
			e.Code = codeNotFound
		}
	}
	return e
}
