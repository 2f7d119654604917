package operation

import "github.com/kettubot/kapi"

// A permanent error is a kapi.ErrPermanent besides what it is already.
type permanent struct{ error }

func (p permanent) Unwrap() error { return p.error }

func (p permanent) Is(target error) bool { return target == kapi.ErrPermanent }

// Permanent marks an error that trying again can't mend: an operation that returns it, also wrapped or joined with
// others, fails at once, whatever its Retry says. Its text stays the same, errors.Is and errors.As still find err in it,
// and errors.Is(err, kapi.ErrPermanent) tells such errors from others. Permanent(nil) is nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return permanent{err}
}
