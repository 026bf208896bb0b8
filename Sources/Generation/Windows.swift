import Jobs

/// How a video longer than what the model sees at once is made: window after window of latent frames, each of which knows
/// the last ones of what is there already.
public struct Windows: Equatable {
    /// Latent frames that a later window knows at least, when there are so many: the first of them is a single picture, the
    /// others say how it moves.
    public static let overlap = 2

    /// One pass of denoising: `known` latent frames are given, `new` ones made.
    struct Window: Equatable {
        var known: Int
        var new: Int
        /// Given behind what is made: what it leads to.
        var following = 0
        /// Made behind these and thrown away, so that the model sees its usual length.
        var spare = 0
        var count: Int { known + new + spare + following }
    }

    /// In the order of being made.
    var windows: [Window]

    /// Behind `present` latent frames, `added` more; `longest` is what the model sees.
    init(forward added: Int, behind present: Int, longest: Int) {
        windows = []
        var (present, left) = (present, added)
        while left > 0 {
            let least = min(present, Self.overlap, longest - 1)
            let new = min(left, longest - least)
            // As much as fits is known, so that the last window is as long as the others.
            windows.append(Window(known: min(present, longest - new), new: new))
            present += new
            left -= new
        }
    }

    /// The first half of a loop of `count` latent frames; the second is the way back, which needs no window.
    init(loop count: Int, longest: Int) {
        self.init(forward: Self.turn(ofLoop: count), behind: 0, longest: longest)
        if windows.count == 1 { windows[0].spare = longest - windows[0].count }
    }

    /// Latent frames of a loop of `count` before it turns round.
    static func turn(ofLoop count: Int) -> Int { (count + 1) / 2 }

    /// From `present` latent frames over `added` new ones to others: the last window knows the first of these that stands for
    /// as many frames as a new one does, and the latent frame in front of it gives its last frame to the first of them.
    init(forward added: Int, behind present: Int, leading longest: Int) {
        let least = min(present, Self.overlap, longest - 2)
        let last = min(added, longest - 1 - least)
        self.init(forward: added - last, behind: present, longest: longest)
        for index in windows.indices { windows[index].spare = max(0, longest - windows[index].count) }
        let known = min(present + added - last, longest - 1 - last)
        windows.append(Window(known: known, new: last, following: 1))
    }

    /// In front of a segment of `present` latent frames: `added` frames, a multiple of `timeFactor`. Each window makes a
    /// segment of its own, whose last frame is dropped: the next one's first stands for it.
    init(backward added: Int, before present: Int, longest: Int, timeFactor: Int) {
        windows = []
        var (present, left) = (present, added / timeFactor)
        while left > 0 {
            // Latent 0 of a segment stands for one frame alone, so it is none of those in the middle of a window.
            let least = min(present - 1, Self.overlap, longest - 2)
            let new = min(left + 1, longest - least)
            windows.append(Window(known: min(present - 1, longest - new), new: new))
            present = new
            left -= new - 1
        }
    }
}
