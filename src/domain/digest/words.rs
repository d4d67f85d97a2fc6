//! A digest as four words, for a person's eye: the page and the mail show the same four when they show the same text.
//! 32 bits of it: enough to notice a mix-up, not a proof. A decision names the whole digest, never the words.
//! The list is our own: plain words, no two alike in their first four letters or one letter apart. Called by `digest`.

/// One for each value of a byte. Never reorder: mails that left already show the words.
#[rustfmt::skip]
const WORDS: [&str; 256] = [
    "acorn", "actor", "adobe", "album", "alder", "amber", "anchor", "angle", "apple", "apron", "arbor", "arrow", "aspen", "atlas", "attic",
    "autumn", "avenue", "azure", "badge", "bagel", "baker", "bamboo", "banjo", "barley", "basil", "beacon", "beaver", "berry", "birch",
    "bishop", "bonnet", "border", "bottle", "bridge", "bronze", "bucket", "bugle", "butter", "cabin", "cactus", "camel", "candle",
    "canyon", "carbon", "carpet", "castle", "cedar", "cello", "cherry", "cider", "cinema", "citrus", "clover", "cobalt", "coffee", "comet",
    "copper", "coral", "cotton", "cradle", "cypress", "daisy", "dancer", "delta", "denim", "desert", "diary", "dinner", "dolphin",
    "domino", "donkey", "dragon", "drawer", "dune", "eagle", "easel", "echo", "elbow", "engine", "envoy", "fabric", "falcon", "farmer",
    "feather", "fennel", "fiddle", "filter", "finger", "flame", "flint", "flower", "flute", "forest", "fossil", "frost", "fudge", "gadget",
    "galaxy", "garden", "giraffe", "glacier", "goblet", "goose", "granite", "gravel", "guitar", "hammer", "hazel", "helmet", "heron",
    "hickory", "hollow", "honey", "hornet", "husky", "icicle", "igloo", "indigo", "island", "ivory", "jacket", "jaguar", "jasmine",
    "jelly", "jersey", "jigsaw", "jungle", "juniper", "kayak", "kernel", "kettle", "kitten", "koala", "ladder", "lagoon", "lantern",
    "lemon", "lilac", "linen", "lizard", "lobster", "lotus", "lumber", "lynx", "magnet", "mango", "maple", "marble", "meadow", "melon",
    "mercury", "mirror", "mosaic", "motor", "muffin", "museum", "napkin", "nectar", "needle", "nickel", "nutmeg", "oasis", "ocean",
    "olive", "onion", "opal", "orange", "orbit", "orchid", "otter", "oxygen", "oyster", "paddle", "palace", "panda", "paper", "parrot",
    "peach", "pebble", "pelican", "pencil", "pepper", "piano", "pigeon", "pillow", "planet", "plum", "polar", "poppy", "potato", "prism",
    "pumpkin", "puzzle", "quarry", "quilt", "rabbit", "radar", "raisin", "raven", "ribbon", "river", "robin", "rocket", "rooster", "ruby",
    "runner", "salmon", "sandal", "saturn", "scarf", "sesame", "shadow", "shovel", "silver", "sketch", "slipper", "spider", "sponge",
    "spruce", "squash", "summer", "swan", "symbol", "talon", "teapot", "temple", "tennis", "ticket", "tiger", "timber", "toast", "tomato",
    "topaz", "tractor", "trumpet", "tulip", "turtle", "valley", "vanilla", "velvet", "vessel", "violin", "volcano", "voyage", "waffle",
    "wagon", "walnut", "whale", "window", "winter", "wombat", "yacht", "yellow", "zebra", "zenith", "zigzag",
];

/// The words of the first four bytes; fewer when the text is no digest.
pub(super) fn words(hex: &str) -> String {
    let bytes = hex.as_bytes().chunks(2).take(4).map_while(|two| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok());
    bytes.map(|byte| WORDS[usize::from(byte)]).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_has_a_word_of_its_own_that_is_not_mistaken_for_another() {
        assert!(WORDS.is_sorted());
        let mut starts: Vec<&str> = WORDS.iter().map(|word| &word[..4]).collect();
        starts.dedup();
        assert_eq!(starts.len(), 256);
        assert!(WORDS.iter().all(|word| word.bytes().all(|b| b.is_ascii_lowercase()) && (4..=8).contains(&word.len())));
        for (index, one) in WORDS.iter().enumerate() {
            for other in &WORDS[index + 1..] {
                let apart = one.len() == other.len() && one.bytes().zip(other.bytes()).filter(|(a, b)| a != b).count() == 1;
                assert!(!apart, "{one} and {other}");
            }
        }
    }

    #[test]
    fn the_words_are_of_the_first_four_bytes() {
        assert_eq!(words("000102ff99"), format!("{} {} {} {}", WORDS[0], WORDS[1], WORDS[2], WORDS[255]));
        assert_eq!(words("not a digest"), "");
    }
}
