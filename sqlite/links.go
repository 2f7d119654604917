package sqlite

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/kettubot/kapi"
)

// resolve follows the links in an absolute path: else two names of one file would have two logs. A
// file that isn't there yet may be at its end.
//
// A link leads to where its owner wants. So it is only followed if that is root, whoever runs this, or
// whoever owns what it leads to: nobody who may write to a folder can have others open, or make, a
// store elsewhere. (The kernel does so for sticky folders: proc(5), protected_symlinks.)
func resolve(path string) (string, error) {
	const separator = string(filepath.Separator)
	volume := filepath.VolumeName(path)
	done, rest := volume+separator, path[len(volume):]
	for links := 0; rest != ""; {
		var next string
		if next, rest, _ = strings.Cut(rest, separator); next == "" {
			continue
		}
		here := filepath.Join(done, next) // ".." is right, too: there is no link in done any more
		link, target, err := readLink(here)
		if err != nil {
			done = here // no link, or nothing
			continue
		}
		if links++; links > maxLinks {
			return path, fmt.Errorf("%w: there are more than %d symbolic links in its path", kapi.ErrUnavailable, maxLinks)
		}
		leadsTo := target
		if !filepath.IsAbs(target) {
			leadsTo = done + separator + target
		}
		if err := checkLink(here, link, target, leadsTo); err != nil {
			return path, err
		}
		if filepath.IsAbs(target) {
			volume = filepath.VolumeName(target)
			done, target = volume+separator, target[len(volume):]
		}
		rest = target + separator + rest
	}
	return done, nil
}

// maxLinks is how many links Linux follows in a path.
const maxLinks = 40

// checkLink refuses a link that leads nowhere, or is of somebody who has no say over what it leads to. It
// goes by what was read of the link: another may stand there by now.
func checkLink(path string, link facts, to, leadsTo string) error {
	target, err := ownerOf(leadsTo)
	switch {
	case isGone(err):
		return fmt.Errorf("%w: %s is a symbolic link to %s, which isn't there", kapi.ErrUnavailable, path, to)
	case err != nil:
		return fmt.Errorf("%w: %s, a symbolic link to %s, can't be followed: %w", kapi.ErrUnavailable, path, to, err)
	case link.uid == target, link.uid == 0, int(link.uid) == os.Geteuid():
		return nil
	}
	return fmt.Errorf("%w: %s is a symbolic link of user %d, to %s, which is not theirs: if it is meant, give that path",
		kapi.ErrUnavailable, path, link.uid, to)
}
