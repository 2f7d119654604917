package peer

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/proc"
	"github.com/kettubot/kapi/internal/rules"
	"github.com/kettubot/kapi/internal/store"
)

// Killed is the result of Kill.
type Killed struct {
	// Action is the action before the kill.
	Action kapi.Action
	// Processes are those that SIGKILL was sent to, each as "PID (NAME)".
	Processes []string
	// Unsure are processes that may or may not be part of the action's work. They were left alone.
	Unsure []string
	// Hidden is true if there may be more processes, which this process can't see.
	Hidden bool
}

// Kill sends SIGKILL to the processes that do the work of an action, for work that can't be ended
// otherwise. Its runner may be dead or alive, but the processes must be in this peer's machine and PID
// namespace. If the action is active, it is also asked to stop. by names the caller. ErrUnknown is
// returned when there is no such action; other errors say why its processes can't be killed from here,
// or wrap ErrUnavailable.
func (p *Peer) Kill(ctx context.Context, id, by string) (Killed, error) {
	if err := p.upToDate(ctx); err != nil {
		return Killed{}, err
	}
	r, ok := p.view.Get(id)
	if !ok {
		return Killed{}, kapi.ErrUnknown
	}
	killed := Killed{Action: r.Shown()}
	work, err := p.workOn(ctx, &r)
	if err != nil {
		return killed, err
	}
	if r.Status.Active() {
		if _, err := p.Cancel(ctx, id, by); err != nil {
			return killed, err
		}
	}
	if err := killed.kill(work); err != nil {
		return killed, err
	}
	p.log.Warn("action killed", "action", id, "title", r.Title, "by", by, "processes", killed.Processes)
	return killed, nil
}

// kill sends SIGKILL to all processes that are certainly part of the work, and notes what it did.
func (killed *Killed) kill(work proc.Work) error {
	refused := map[int]error{}
	const rounds = 5 // so that processes that are started meanwhile are killed, too
	for round := range rounds {
		table, err := proc.ReadTable()
		if err != nil {
			return fmt.Errorf("look for its processes: %w", err)
		}
		remains := table.Remains(work)
		killed.Unsure = strings.Split(rules.NameProcesses(processes(remains.Maybe)), ", ")
		if len(remains.Maybe) == 0 {
			killed.Unsure = nil
		}
		killed.Hidden = remains.Hidden
		if len(remains.Sure) == len(refused) {
			break
		}
		if round > 0 {
			time.Sleep(10 * time.Millisecond) // a process takes a moment to end
		}
		for _, process := range remains.Sure {
			if err := proc.Signal(process.Ref, syscall.SIGKILL); err != nil {
				refused[process.PID] = err
				continue
			}
			if name := rules.NameProcesses(processes([]proc.Process{process})); !slices.Contains(killed.Processes, name) {
				killed.Processes = append(killed.Processes, name)
			}
		}
	}
	for _, err := range refused {
		return err
	}
	return nil
}

// workOn returns what is recorded about an action's processes. They must be in this machine and PID
// namespace.
func (p *Peer) workOn(ctx context.Context, r *store.Record) (proc.Work, error) {
	if r.Runner == nil {
		return proc.Work{}, fmt.Errorf("it has no runner")
	}
	runners, err := p.store.Runners(ctx, []string{r.Runner.ID})
	if err != nil {
		return proc.Work{}, err
	}
	if len(runners) == 1 && runners[0].BootID != "" && runners[0].BootID == p.self.BootID && runners[0].PIDNamespace == p.self.PIDNamespace {
		work, ok := workOf(&runners[0]).of(r.ID)
		if !ok {
			return proc.Work{}, fmt.Errorf("its runner (process %d on %s) has recorded no processes", r.Runner.PID, r.Runner.Host)
		}
		return work, nil
	}
	return proc.Work{}, fmt.Errorf("its processes can only be killed on %s, in the container of its runner, with --store", r.Runner.Host)
}
