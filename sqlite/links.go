package sqlite

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/kettubot/kapi"
)

// resolve returns an absolute path with its symbolic links followed, because a file opened under two names
// would have two logs. The file itself need not exist yet.
//
// A link is followed only if it belongs to root, to this process's user, or to the owner of its target.
// Otherwise anyone who may write to a folder could make other users open or create a store elsewhere.
// (The kernel does the same in sticky folders: proc(5), protected_symlinks.)
func resolve(path string) (string, error) {
	const separator = string(filepath.Separator)
	volume := filepath.VolumeName(path)
	done, rest := volume+separator, path[len(volume):]
	for links := 0; rest != ""; {
		var next string
		if next, rest, _ = strings.Cut(rest, separator); next == "" {
			continue
		}
		here := filepath.Join(done, next) // right for "..", too, because done has no links
		link, target, err := readLink(here)
		if err != nil {
			done = here // not a link, or doesn't exist
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

// maxLinks is how many links are followed in a path, as many as Linux follows.
const maxLinks = 40

// checkLink refuses a link whose target doesn't exist, or whose owner is not one that resolve trusts. It
// takes the facts of the link that was read, because another one may be at path by now.
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
	return fmt.Errorf("%w: %s is a symbolic link of user %d, to %s, which doesn't belong to them: if you trust it, give that path instead",
		kapi.ErrUnavailable, path, link.uid, to)
}
