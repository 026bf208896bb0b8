import Jobs
import Testing
import Video

@testable import Service

@Suite struct VideoFieldsTests {
    private func json(_ text: String) throws -> VideoParameters {
        try VideoFields.parse(body: Array(text.utf8), contentType: "application/json; charset=utf-8").parameters
    }

    private func form(_ fields: [(String, [UInt8])]) throws -> VideoParameters {
        var body: [UInt8] = []
        for (name, value) in fields {
            body += Array("--x\r\nContent-Disposition: form-data; name=\"\(name)\"\r\n\r\n".utf8) + value + [13, 10]
        }
        return try VideoFields.parse(
            body: body + Array("--x--\r\n".utf8), contentType: "multipart/form-data; boundary=x"
        ).parameters
    }

    private func problem(_ body: () throws -> VideoParameters) -> Problem? {
        do {
            _ = try body()
            return nil
        } catch {
            return Problem(error)
        }
    }

    @Test func jsonAndFormSayTheSame() throws {
        let fromJSON = try json(
            """
            {"prompt":"a fox","model":"nano","size":"64x48","seconds":"2.5","seed":18446744073709551615,
             "steps":8,"guidance":2.5,"negative_prompt":"rain","fps":12}
            """)
        let fromForm = try form([
            ("prompt", Array("a fox".utf8)), ("model", Array("nano".utf8)), ("size", Array("64x48".utf8)),
            ("seconds", Array("2.5".utf8)), ("seed", Array("18446744073709551615".utf8)), ("steps", Array("8".utf8)),
            ("guidance", Array("2.5".utf8)), ("negative_prompt", Array("rain".utf8)), ("fps", Array("12".utf8)),
        ])
        var wanted = VideoParameters(prompt: "a fox")
        wanted.model = "nano"
        wanted.size = Size(width: 64, height: 48)
        wanted.seconds = 2.5
        wanted.seed = .max
        wanted.steps = 8
        wanted.guidance = 2.5
        wanted.negativePrompt = "rain"
        wanted.fps = 12
        #expect(fromJSON == wanted)
        #expect(fromForm == wanted)
    }

    @Test func secondsMayBeANumberAndNullIsNotSaid() throws {
        #expect(try json(#"{"prompt":"a","seconds":2,"seed":null}"#).seconds == 2)
        #expect(try json(#"{"prompt":"a","seconds":2,"seed":null}"#).seed == nil)
    }

    @Test(arguments: [
        (#"{"prompt":""}"#, "empty_prompt", "prompt"), (#"{"prompt":" \n "}"#, "empty_prompt", "prompt"),
        (#"{}"#, "missing_field", "prompt"), (#"{"prompt":7}"#, "wrong_type", "prompt"),
        (#"{"prompt":["a"]}"#, "wrong_type", "prompt"), (#"{"prompt":{"a":1}}"#, "wrong_type", "prompt"),
        (#"{"prompt":"a\u0000b"}"#, "invalid_character", "prompt"),
        (#"{"prompt":"a\u001bb"}"#, "invalid_character", "prompt"),
        (#"{"prompt":"a\u0085b"}"#, "invalid_character", "prompt"),
        (#"{"prompt":"a","promt":"b"}"#, "unknown_field", "promt"),
        (#"{"prompt":"a","size":64}"#, "wrong_type", "size"), (#"{"prompt":"a","size":"64"}"#, "invalid_value", "size"),
        (#"{"prompt":"a","size":"0x64"}"#, "invalid_value", "size"),
        (#"{"prompt":"a","seed":"7"}"#, "wrong_type", "seed"), (#"{"prompt":"a","seed":-1}"#, "invalid_value", "seed"),
        (#"{"prompt":"a","seed":1.5}"#, "wrong_type", "seed"), (#"{"prompt":"a","seed":true}"#, "wrong_type", "seed"),
        (#"{"prompt":"a","steps":0}"#, "invalid_value", "steps"),
        (#"{"prompt":"a","steps":1001}"#, "invalid_value", "steps"),
        (#"{"prompt":"a","seconds":"long"}"#, "invalid_value", "seconds"),
        (#"{"prompt":"a","seconds":"inf"}"#, "invalid_value", "seconds"),
        (#"{"prompt":"a","seconds":"0x10"}"#, "invalid_value", "seconds"),
        (#"{"prompt":"a","seconds":0}"#, "invalid_value", "seconds"),
        (#"{"prompt":"a","guidance":"2"}"#, "wrong_type", "guidance"),
        (#"{"prompt":"a","fps":false}"#, "wrong_type", "fps"),
        (#"{"prompt":"a","model":""}"#, "invalid_value", "model"),
        (#"{"prompt":"a","negative_prompt":3}"#, "wrong_type", "negative_prompt"),
    ])
    func refusesTheFieldByName(_ body: String, _ code: String, _ field: String) {
        let found = problem { try json(body) }
        #expect(
            found?.status == 400 && found?.code == code && found?.field == field,
            "\(body): \(String(describing: found))")
    }

    @Test(arguments: ["", "{", "[]", "7", "null", "\"text\"", "{\"prompt\":\"a\"}}", "{\"prompt\":\"\\ud800\"}"])
    func refusesWhatIsNoJSONObject(_ body: String) {
        #expect(problem { try json(body) }?.status == 400)
        #expect(problem { try json(body) }?.code == "invalid_json")
    }

    @Test func deepNestingIsRefusedNotFollowed() {
        let deep = String(repeating: "[", count: 200_000)
        #expect(problem { try json("{\"prompt\":\(deep)") }?.code == "invalid_json")
    }

    @Test func lengthIsCountedInBytes() throws {
        let longest = String(repeating: "a", count: VideoFields.longestPrompt)
        #expect(try json("{\"prompt\":\"\(longest)\"}").prompt == longest)
        #expect(problem { try json("{\"prompt\":\"\(longest)a\"}") }?.code == "too_long")
        #expect(problem { try json("{\"prompt\":\"\(longest)a\"}") }?.field == "prompt")
        let wide = String(repeating: "狐", count: VideoFields.longestPrompt / 3 + 1)
        #expect(problem { try json("{\"prompt\":\"\(wide)\"}") }?.message.contains("2001 bytes") == true)
        #expect(
            problem { try json("{\"prompt\":\"a\",\"negative_prompt\":\"\(longest)a\"}") }?.field == "negative_prompt")
    }

    @Test func illFormedUTF8NamesItsField() {
        let inPrompt = Array("{\"model\":\"nano\",\"prompt\":\"a".utf8) + [0xFF, 0xC0] + Array("\"}".utf8)
        let json = problem { try VideoFields.parse(body: inPrompt, contentType: "application/json").parameters }
        #expect(json?.status == 400 && json?.code == "invalid_encoding" && json?.field == "prompt")
        let form = problem { try self.form([("prompt", [0x61, 0xC3, 0x28])]) }
        #expect(form?.status == 400 && form?.code == "invalid_encoding" && form?.field == "prompt")
        #expect(problem { try self.form([("prompt", [0x61, 0])]) }?.code == "invalid_character")
    }

    @Test func formsAreCheckedLikeJSON() {
        let prompt = ("prompt", Array("a".utf8))
        #expect(problem { try form([prompt, prompt]) }?.code == "duplicate_field")
        #expect(problem { try form([prompt, ("storyboard", [])]) }?.field == "storyboard")
        #expect(problem { try form([prompt, ("seed", Array("-1".utf8))]) }?.field == "seed")
        #expect(problem { try form([prompt, ("steps", Array("8.5".utf8))]) }?.field == "steps")
        #expect(problem { try form([prompt, ("seed", Array("99999999999999999999".utf8))]) }?.field == "seed")
    }

    /// The official SDK sends all values of one key, then all of the next; others send scene after scene.
    @Test func aStoryboardInAFormIsAList() throws {
        func parts(_ fields: [(String, String)]) -> [(String, [UInt8])] {
            fields.map { ("storyboard[][\($0.0)]", Array($0.1.utf8)) }
        }
        let wanted = [Scene(prompt: "a", at: 0), Scene(prompt: "b", at: 2.5)]
        for order in [
            [("prompt", "a"), ("prompt", "b"), ("at", "0"), ("at", "2.5")],
            [("at", "0"), ("at", "2.5"), ("prompt", "a"), ("prompt", "b")],
            [("prompt", "a"), ("at", "0"), ("at", "2.5"), ("prompt", "b")],
        ] {
            #expect(try form(parts(order)).storyboard == wanted)
        }
        let longest = (0..<VideoFields.longestStoryboard).flatMap { [("prompt", "a"), ("at", "\($0)")] }
        #expect(try form(parts(longest)).storyboard.count == 32)
        let many = (0...VideoFields.longestStoryboard + 1).flatMap { [("prompt", "a"), ("at", "\($0)")] }
        for wrong in [[("prompt", "a")], [("at", "0")], [("prompt", "a"), ("at", "0"), ("at", "1")], many] {
            #expect(problem { try form(parts(wrong)) }?.field == "storyboard", "\(wrong)")
        }
        #expect(problem { try form(parts([("prompt", "a"), ("at", "0"), ("by", "1")])) }?.code == "unknown_field")
    }

    @Test(arguments: [nil, "text/plain", "application/x-www-form-urlencoded", "application/json2"])
    func otherTypesAre415(_ type: String?) {
        let found = problem {
            try VideoFields.parse(body: Array("{\"prompt\":\"a\"}".utf8), contentType: type).parameters
        }
        #expect(found?.status == 415)
    }

    @Test func damagedJSONNeverTraps() {
        let seed = Array(#"{"prompt":"a fox","size":"64x64","seconds":"2","seed":7,"guidance":1e3,"fps":8}"#.utf8)
        var random = SplitMix(state: 7)
        for _ in 0..<20_000 {
            var body = seed
            for _ in 0...Int(random.next() % 4) where !body.isEmpty {
                body[Int(random.next() % UInt64(body.count))] = UInt8(truncatingIfNeeded: random.next())
                if random.next() % 4 == 0 { body.removeLast(Int(random.next() % UInt64(body.count))) }
            }
            let found = problem { try VideoFields.parse(body: body, contentType: "application/json").parameters }
            #expect(found == nil || found?.status == 400)
        }
    }
}
