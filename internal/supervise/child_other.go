//go:build !linux

package supervise

import (
	"errors"
	"os"
	"syscall"
)

// A child is the command's process. The processes that it starts are not tracked here.
type child struct{ process *os.Process }

// startChild starts the command with this process's standard input, and with stdout and stderr.
func startChild(c Command, stdout, stderr *os.File) (*child, error) {
	ch, err := startFile(c, stdout, stderr)
	if errors.Is(err, syscall.ENOEXEC) {
		if shell, shellErr := startFile(c.byShell(), stdout, stderr); shellErr == nil {
			ch, err = shell, nil
		}
	}
	if err == nil && c.Record != nil {
		c.Record(ch.process.Pid)
	}
	return ch, err
}

func startFile(c Command, stdout, stderr *os.File) (*child, error) {
	p, err := os.StartProcess(c.Path, c.Args, &os.ProcAttr{
		Env:   c.Env,
		Files: []*os.File{os.Stdin, stdout, stderr},
	})
	if err != nil {
		return nil, execError(c, err)
	}
	return &child{process: p}, nil
}

func (c *child) wait() (status syscall.WaitStatus, err error) {
	state, err := c.process.Wait()
	if err != nil {
		return status, err
	}
	status, _ = state.Sys().(syscall.WaitStatus)
	return status, nil
}

func (c *child) kill() { _ = c.process.Kill() }

// release does nothing: no helper process runs beside the command here.
func (c *child) release() {}
