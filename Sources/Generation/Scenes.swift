import Jobs

/// The texts of a video that is told in several prompts, encoded, and which of them a window is made by.
struct Scenes {
    /// `[tokens, hidden]`
    typealias States = [Float]

    private var scenes: [(at: Double, states: States)] = []
    /// Seconds in which one becomes the next, around the border between them.
    private let passing: Double
    private let hiddenSize: Int

    init(
        _ scenes: [Scene], passing: Double, hiddenSize: Int, encode: (String) throws -> States
    ) rethrows {
        self.passing = passing
        self.hiddenSize = hiddenSize
        for scene in scenes { self.scenes.append((scene.at, try encode(scene.prompt))) }
    }

    /// What is read at `time`: between two texts a mixture of their states, token by token. Texts are padded with zeros,
    /// so that what one has more of fades.
    func states(at time: Double) -> States {
        var result = scenes.first?.states ?? []
        for scene in scenes.dropFirst() {
            let part = Float(min(max((time - scene.at) / passing + 0.5, 0), 1))
            if part == 0 { continue }
            if part == 1 {
                result = scene.states
                continue
            }
            var mixture = States(repeating: 0, count: max(result.count, scene.states.count))
            for (index, value) in result.enumerated() { mixture[index] = value * (1 - part) }
            for (index, value) in scene.states.enumerated() { mixture[index] += value * part }
            result = mixture
        }
        return result
    }
}

extension Windows {
    /// Seconds in which a storyboard passes from one scene to the next: what a window adds.
    static func passing(_ longest: Int, timeFactor: Int, fps: Int) -> Double {
        Double((longest - overlap) * timeFactor) / Double(fps)
    }
}
