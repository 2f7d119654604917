package wire

import (
	"fmt"

	"github.com/kettubot/kapi"
)

// The bodies of requests: the types that a client sends, and how a server reads them. A new field must be
// added to the type and to the method of Fields that reads it.

// A Start is the body of POST /kapi/actions.
type Start struct {
	Title            string   `json:"title"`
	Description      string   `json:"description,omitempty"`
	Keys             []string `json:"keys,omitempty"`
	ReleaseOnFailure bool     `json:"release_on_failure,omitempty"`
	DismissFailed    bool     `json:"dismiss_failed,omitempty"`
	// Status is the first status, pending or running; nil is running.
	Status *kapi.Status `json:"status,omitempty"`
	Within []string     `json:"within,omitempty"`
	Wait   bool         `json:"wait,omitempty"`
	// Host is where the work is done; "" is the address that the request comes from.
	Host string `json:"host,omitempty"`
}

// NewStart returns the body of a start of spec.
func NewStart(spec kapi.Spec) Start {
	return Start{
		Title: spec.Title, Description: spec.Description, Keys: spec.Keys,
		ReleaseOnFailure: spec.ReleaseOnFailure, DismissFailed: spec.DismissFailed, Within: spec.Within,
		Wait: spec.Wait != 0, Host: spec.Host,
	}
}

// Start takes out the fields of a start.
func (f Fields) Start() (Start, error) {
	var s Start
	for _, field := range []struct {
		name string
		into any
	}{ // in the order in which errors are reported
		{"title", &s.Title},
		{"description", &s.Description},
		{"keys", &s.Keys},
		{"release_on_failure", &s.ReleaseOnFailure},
		{"dismiss_failed", &s.DismissFailed},
		{"status", &s.Status},
		{"wait", &s.Wait},
		{"within", &s.Within},
		{"host", &s.Host},
	} {
		if err := f.takeExact(field.name, field.into); err != nil {
			return Start{}, err
		}
	}
	if err := f.Done(); err != nil {
		return Start{}, err
	}
	if s.Status != nil && *s.Status != kapi.StatusPending && *s.Status != kapi.StatusRunning {
		return Start{}, BadBody.About("status", fmt.Sprintf("must be 0 or 1, not %d", int(*s.Status)))
	}
	return s, nil
}

// Spec returns the spec of the start. If it waits, it does so until its runner gives up.
func (s *Start) Spec() kapi.Spec {
	spec := kapi.Spec{
		Title: s.Title, Description: s.Description, Keys: s.Keys,
		ReleaseOnFailure: s.ReleaseOnFailure, DismissFailed: s.DismissFailed, Within: s.Within, Host: s.Host,
	}
	if s.Wait {
		spec.Wait = -1
	}
	return spec
}

// Pending reports whether the action is to start as pending.
func (s *Start) Pending() bool { return s.Status != nil && *s.Status == kapi.StatusPending }

// A Report is the body of PATCH /kapi/actions/{id}. A nil field is left out.
type Report struct {
	Fence uint64 `json:"fence"`
	// Progress points to a number, or to nil if the progress is unknown again.
	Progress **float64    `json:"progress,omitempty"`
	State    *string      `json:"state,omitempty"`
	Status   *kapi.Status `json:"status,omitempty"`
	ExitCode *int         `json:"exit_code,omitempty"`
}

// NewReport returns the body of a report. If r has both ResetProgress and Progress, only the reset is in
// it: the progress takes a second request.
func NewReport(r kapi.Report) Report {
	body := Report{Fence: r.Fence, State: r.State, Status: r.Status, ExitCode: r.ExitCode}
	switch {
	case r.ResetProgress:
		body.Progress = new(*float64)
	case r.Progress != nil:
		body.Progress = &r.Progress
	}
	return body
}

// Report takes out the fields of a report.
func (f Fields) Report() (Report, error) {
	var r Report
	if given, err := f.take("fence", &r.Fence); err != nil {
		return Report{}, err
	} else if !given {
		return Report{}, BadBody.About("fence", "is missing")
	}
	if _, err := f.take("status", &r.Status); err != nil {
		return Report{}, err
	}
	var progress *float64
	if isNull(f["progress"]) {
		delete(f, "progress")
		r.Progress = &progress
	} else if given, err := f.take("progress", &progress); err != nil {
		return Report{}, err
	} else if given {
		r.Progress = &progress
	}
	if _, err := f.take("state", &r.State); err != nil {
		return Report{}, err
	}
	if _, err := f.take("exit_code", &r.ExitCode); err != nil {
		return Report{}, err
	}
	if err := f.Done(); err != nil {
		return Report{}, err
	}
	return r, nil
}

// Said returns the report as a kapi.Report.
func (r *Report) Said() kapi.Report {
	said := kapi.Report{Fence: r.Fence, Status: r.Status, State: r.State, ExitCode: r.ExitCode}
	switch {
	case r.Progress == nil:
	case *r.Progress == nil:
		said.ResetProgress = true
	default:
		said.Progress = *r.Progress
	}
	return said
}

// A Cancel is the body of POST /kapi/actions/{id}/cancel. The body is optional.
type Cancel struct {
	GiveUp bool `json:"give_up"`
}

// Cancel takes out the fields of a cancellation.
func (f Fields) Cancel() (c Cancel, err error) {
	if _, err := f.take("give_up", &c.GiveUp); err != nil {
		return c, err
	}
	return c, f.Done()
}

// A SignIn is the body of POST /page/session: a token, or the code of a link.
type SignIn struct {
	Token string `json:"token"`
	Code  string `json:"code"`
}

// SignIn takes out the fields of a sign-in.
func (f Fields) SignIn() (s SignIn, err error) {
	if _, err := f.take("token", &s.Token); err != nil {
		return s, err
	}
	if _, err := f.take("code", &s.Code); err != nil {
		return s, err
	}
	return s, f.Done()
}
